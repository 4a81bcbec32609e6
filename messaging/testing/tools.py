"""The public names of ``messaging.testing``. docs/testing.md shows their use."""

from messaging.testing.asserting import assert_nothing_sent, assert_sent, sent
from messaging.testing.cases import NexusTestCase, NexusTestMixin
from messaging.testing.delivering import Delivered, deliver
from messaging.testing.draining import DrainLimit, DrainReport, Handling, UnexpectedDeadLetter, drain
from messaging.testing.publication import publishing
from messaging.testing.stand_ins import stand_in

__all__ = [
    "Delivered",
    "DrainLimit",
    "DrainReport",
    "Handling",
    "NexusTestCase",
    "NexusTestMixin",
    "UnexpectedDeadLetter",
    "assert_nothing_sent",
    "assert_sent",
    "deliver",
    "drain",
    "publishing",
    "sent",
    "stand_in",
]
