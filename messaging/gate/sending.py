"""The sending gate: its steps, read top to bottom, the same for the durable and the in-process bus.

    names ▶ limits ▶ authorize ▶ validate ▶ (numbering) ▶ backlog

A step takes all messages of one call and raises at the first that may not be sent: the caller gets the error, and
nothing of the call is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from messaging.gate.draft import Draft, Ground
from messaging.gate.steps.authorize import authorize_drafts
from messaging.gate.steps.backlog import check_backlog
from messaging.gate.steps.limits import limits
from messaging.gate.steps.names import names
from messaging.gate.steps.validate import validate_drafts

__all__ = ["SENDING", "admit_drafts", "check_backlog"]

Step = Callable[[Sequence[Draft], Ground], None]

SENDING: tuple[Step, ...] = (
    names,
    limits,
    authorize_drafts,
    validate_drafts,
)


def admit_drafts(drafts: Sequence[Draft], ground: Ground) -> None:
    """Run the steps.

    Args:
        drafts: messages that were not sent before, in the order in which they are to be numbered.
        ground: of the bus.

    Raises:
        SendError: one of them may not be sent.
        SchemaError, AccessPolicyError: schemas or policy cannot be used as they stand.
    """
    for step in SENDING:
        step(drafts, ground)
