"""What was sent, as the test's own transaction sees it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from messaging.conf import get_settings
from messaging.core.envelope import Envelope, parse_envelope
from messaging.models import Message
from messaging.security.encryption.payloads import open_data
from messaging.testing.matching import ANYTHING, Pattern, matching, refuse, require


def sent(
    *,
    type: str | None = None,
    recipient: str | None = None,
    sender: str | None = None,
    data: Any = ANYTHING,
    workflow: UUID | None = None,
) -> list[Envelope]:
    """The messages in the log, in the order in which they were sent: those of the durable bus, of handlers and chats.

    Args:
        type, sender, workflow: leave out all others.
        recipient: the agent or group that was named when sending.
        data: equal to the message's data; ``unittest.mock.ANY`` may stand inside.
    """
    limit = get_settings().max_message_bytes
    messages = [
        open_data(parse_envelope(bytes(envelope), max_bytes=limit))
        for envelope in Message.objects.order_by("pk").values_list("envelope", flat=True)
    ]
    return matching(messages, Pattern(type=type, recipient=recipient, sender=sender, data=data, workflow=workflow))


def assert_sent(
    *,
    type: str | None = None,
    recipient: str | None = None,
    sender: str | None = None,
    data: Any = ANYTHING,
    workflow: UUID | None = None,
    times: int | None = None,
) -> Envelope:
    """Make sure that a message was sent; return the first such.

    Args:
        type, recipient, sender, data, workflow: see ``sent``.
        times: how many such messages there are to be; None for one at least.

    Raises:
        AssertionError: there is none, or there are not so many; says what was sent.
    """
    pattern = Pattern(type=type, recipient=recipient, sender=sender, data=data, workflow=workflow)
    return require(sent(), pattern, times)


def assert_nothing_sent(
    *,
    type: str | None = None,
    recipient: str | None = None,
    sender: str | None = None,
    data: Any = ANYTHING,
    workflow: UUID | None = None,
) -> None:
    """Make sure that no message was sent, or none that is like this (see ``sent``).

    Raises:
        AssertionError: there is one; says which.
    """
    refuse(sent(), Pattern(type=type, recipient=recipient, sender=sender, data=data, workflow=workflow))
