"""The tools as methods of a ``unittest`` test case."""

from __future__ import annotations

from typing import ClassVar
from unittest import TestCase as UnittestCase

from django.test import TestCase

from messaging.testing import asserting, delivering, draining
from messaging.testing.handling import forget_remembered
from messaging.testing.publication import publishing


class NexusTestMixin(UnittestCase):
    """Put it before Django's ``TestCase`` or ``TransactionTestCase``. Its methods are the functions of those names."""

    publish_to_broker: ClassVar[bool] = False
    """Whether what a test commits goes to the configured broker, as in earnest."""

    sent = staticmethod(asserting.sent)
    assert_sent = staticmethod(asserting.assert_sent)
    assert_nothing_sent = staticmethod(asserting.assert_nothing_sent)
    drain = staticmethod(draining.drain)
    deliver = staticmethod(delivering.deliver)

    @classmethod
    def setUpClass(cls) -> None:
        cls.enterClassContext(publishing(cls.publish_to_broker))
        super().setUpClass()

    def setUp(self) -> None:
        super().setUp()
        forget_remembered()


class NexusTestCase(NexusTestMixin, TestCase):
    """Django's ``TestCase`` with the tools as methods."""
