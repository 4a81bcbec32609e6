"""The sending gate: its steps, read top to bottom, the same for the durable and the in-process bus.

    names ▶ authorize ▶ sanitize ▶ validate ▶ label ▶ (numbering, under the workflow's lock) ▶ limits ▶ backlog

A step takes all messages of one call and raises at the first that may not be sent: the caller gets the error, and
nothing of the call is stored. What can be said without the numbers is said first, while nothing is locked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured

from messaging.core.errors import NexusError
from messaging.gate.draft import Backlog, Draft, Ground
from messaging.gate.steps.authorize import authorize_drafts
from messaging.gate.steps.backlog import check_backlog
from messaging.gate.steps.label import label
from messaging.gate.steps.limits import limits
from messaging.gate.steps.names import names
from messaging.gate.steps.sanitize import sanitize
from messaging.gate.steps.validate import validate_drafts
from messaging.security.content.loading import get_sanitizer

Step = Callable[[Sequence[Draft], Ground], None]

SENDING: tuple[Step, ...] = (
    names,
    authorize_drafts,
    sanitize,
    validate_drafts,
    label,
)

NUMBERED: tuple[Step, ...] = (limits,)
"""After numbering, with the workflow's row at hand; ``check_backlog`` follows with the mailboxes."""


def prepare() -> None:
    """Read now what the first message would wait for, with its transaction open and others behind it: the content
    rules take a tenth of a second. Where they cannot be read nothing happens here; every message is refused then.
    """
    with suppress(NexusError, ImproperlyConfigured):
        get_sanitizer()


def admit_drafts(drafts: Sequence[Draft], ground: Ground) -> None:
    """Run the steps before numbering.

    Args:
        drafts: messages that were not sent before, in the order in which they are to be numbered.
        ground: of the bus.

    Raises:
        SendError: one of them may not be sent, or is not what its extraction allows.
        SchemaError, AccessPolicyError: schemas or policy cannot be used as they stand.
    """
    for step in SENDING:
        step(drafts, ground)


def admit_numbered(drafts: Sequence[Draft], ground: Ground, mailboxes: Iterable[Backlog]) -> None:
    """Run the steps after numbering.

    Args:
        drafts: the same.
        ground: of the bus; its workflows have the numbers from before.
        mailboxes: what was counted into them.

    Raises:
        SendError: one of them may not be sent. Take the numbers back.
    """
    for step in NUMBERED:
        step(drafts, ground)
    check_backlog(mailboxes)
