"""An event from a program outside: what the inbox takes.

It is a CloudEvents 1.0 event in JSON as well, with what its sender can know: no sequence and no position, an id of its
sender's own, and a workflow by its UUID or by a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from messaging.core.envelope_rules import PLAIN_DATA, RULES, Rule, exactly
from messaging.core.errors import EnvelopeError, EnvelopeTooLarge
from messaging.core.strict_json import WHOLE, describe, loads, path_of_key

MAX_ID = 200
MAX_WORKFLOW_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignEvent:
    """What a program outside says.

    Args:
        id: of its sender; the same one again is the same event.
        source: the agent for which it speaks.
        type, recipient, data: as of any message.
        time: when it was made, as its sender claims.
        workflow: an existing workflow's id, or a name that its sender gives one.
        causation_id: the message of that workflow which this one answers.
        expires_at: when it stops being of use.
    """

    id: str
    source: str
    type: str
    recipient: str
    time: datetime
    workflow: UUID | str
    causation_id: UUID | None
    expires_at: datetime | None
    data: Any


def _label(longest: int) -> Any:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
            raise ValueError
        return value

    return convert


def _workflow(value: Any) -> UUID | str:
    try:
        workflow: UUID = RULES["partitionkey"].convert(value)
    except ValueError:
        return str(_label(MAX_WORKFLOW_NAME)(value))
    return workflow


_RULES = {
    "specversion": RULES["specversion"],
    "id": Rule(f"a string of 1 to {MAX_ID} printable characters", _label(MAX_ID)),
    "source": RULES["source"],
    "type": RULES["type"],
    "subject": RULES["subject"],
    "time": RULES["time"],
    "datacontenttype": exactly(PLAIN_DATA, required=False),
    "partitionkey": Rule(
        f"a workflow's UUID, or a name for one of 1 to {MAX_WORKFLOW_NAME} printable characters", _workflow
    ),
    "causationid": RULES["causationid"],
    "expirytime": RULES["expirytime"],
}


def parse_foreign_event(body: bytes, *, max_bytes: int) -> ForeignEvent:
    """Read an event from outside, strictly.

    Args:
        body: the bytes that came.
        max_bytes: the longest event allowed.

    Raises:
        EnvelopeError: it is none; names the attribute. No other error is ever raised.
    """
    if len(body) > max_bytes:
        raise EnvelopeTooLarge(WHOLE, f"has {len(body)} bytes; at most {max_bytes} are allowed (MAX_MESSAGE_BYTES)")
    attributes = loads(body)
    if not isinstance(attributes, dict):
        raise EnvelopeError(WHOLE, f"expected a JSON object, got {describe(attributes)}")
    for name in attributes:
        if name not in _RULES and name != "data":
            raise EnvelopeError(
                path_of_key(name), "is no attribute of an event from outside; other values belong in data"
            )
    if "data" not in attributes:
        raise EnvelopeError("data", "is missing; expected any JSON value, such as null")
    values = {name: rule.read(name, attributes.get(name)) for name, rule in _RULES.items()}
    return ForeignEvent(
        id=values["id"],
        source=values["source"],
        type=values["type"],
        recipient=values["subject"],
        time=values["time"],
        workflow=values["partitionkey"],
        causation_id=values["causationid"],
        expires_at=values["expirytime"],
        data=attributes["data"],
    )
