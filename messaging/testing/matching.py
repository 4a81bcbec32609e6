"""Finding messages by what they are, and saying what there was instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from messaging.core.envelope import Envelope

MAX_SHOWN = 20
MAX_DATA_SHOWN = 200


class _Anything:
    """Stands for an argument that was left out; None is a value that data can have."""

    def __repr__(self) -> str:
        return "…"


ANYTHING: Any = _Anything()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """What a message is to be like; what is left out is not compared.

    Args:
        type: its type.
        recipient: the agent or group that it was sent to.
        sender: who sent it.
        data: equal to its data. ``unittest.mock.ANY`` may stand inside.
        workflow: its workflow's id.
    """

    type: str | None = None
    recipient: str | None = None
    sender: str | None = None
    data: Any = ANYTHING
    workflow: UUID | None = None

    def fits(self, message: Envelope) -> bool:
        """Tell whether a message is like this."""
        return (
            self.type in (None, message.type)
            and self.recipient in (None, message.subject)
            and self.sender in (None, message.source)
            and (self.data is ANYTHING or bool(self.data == message.data))
            and self.workflow in (None, message.workflow_id)
        )

    def __str__(self) -> str:
        named = (
            ("type", self.type),
            ("recipient", self.recipient),
            ("sender", self.sender),
            ("data", self.data),
            ("workflow", self.workflow),
        )
        said = [f"{name}={value!r}" for name, value in named if value is not None and value is not ANYTHING]
        return f"message with {', '.join(said)}" if said else "message"


def matching(messages: Iterable[Envelope], pattern: Pattern) -> list[Envelope]:
    """Those that fit, in their order."""
    return [message for message in messages if pattern.fits(message)]


def require(messages: Sequence[Envelope], pattern: Pattern, times: int | None) -> Envelope:
    """The first message that fits.

    Args:
        messages: among which to look.
        pattern: what it is to be like.
        times: how many are to fit, 1 or more; None for one at least.

    Raises:
        AssertionError: none fits, or not so many.
    """
    found = matching(messages, pattern)
    if found and times in (None, len(found)):
        return found[0]
    wanted = "No" if not found else f"{len(found)} times, not {times} times, a"
    raise AssertionError(f"{wanted} {pattern} was sent. {describe(messages)}")


def refuse(messages: Sequence[Envelope], pattern: Pattern) -> None:
    """Make sure that no message fits.

    Raises:
        AssertionError: one does.
    """
    found = matching(messages, pattern)
    if found:
        raise AssertionError(f"Expected no {pattern} to be sent. {describe(found)}")


def describe(messages: Sequence[Envelope]) -> str:
    """Say what was sent, for people."""
    if not messages:
        return "Nothing was sent."
    lines = [f"  {line_of(message)}" for message in messages[:MAX_SHOWN]]
    if len(messages) > MAX_SHOWN:
        lines.append(f"  … and {len(messages) - MAX_SHOWN} more")
    return "\n".join(["Sent:", *lines])


def line_of(message: Envelope) -> str:
    """A message in one line."""
    data = repr(message.data)
    if len(data) > MAX_DATA_SHOWN:
        data = f"{data[:MAX_DATA_SHOWN]}…"
    return f"#{message.sequence_number} {message.source} → {message.subject}: {message.type} {data}"
