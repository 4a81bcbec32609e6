"""When a chat ends: conditions that combine with ``|`` and ``&``.

Conditions are plain values: they keep nothing, so a definition can be stored, shared by many chats and used in both
modes. What was met earlier (for ``&``) is kept in the chat's state.

>>> from agents.chat.rules.conditions import MaxMessages, MaxRounds, TextMention
>>> ending = TextMention("APPROVED", sources=("critic",)) & MaxRounds(2) | MaxMessages(20)
>>> ending.to_data()["any"][0]
{'all': [{'text_mention': {'text': 'APPROVED', 'sources': ['critic']}}, {'max_rounds': 2}]}
>>> ending.check(View(count=20), {})
'20 messages'
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from agents.chat.rules.messages import NOTHING_USED, Entry, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What conditions look at.

    Args:
        task: what the chat is about.
        new: what was said since the conditions were last checked.
        messages: the last entries of the transcript, ``new`` among them.
        count: entries in the whole transcript, the task included.
        rounds: how often speakers were chosen and have answered; a parallel choice is one round.
        usage: what the chat and its sub-chats consumed.
        elapsed: seconds since the chat began.
        stop_requested: whether somebody asked for the end from outside.
    """

    task: str = ""
    new: Sequence[Entry] = ()
    messages: Sequence[Entry] = ()
    count: int = 0
    rounds: int = 0
    usage: Usage = NOTHING_USED
    elapsed: float = 0.0
    stop_requested: bool = False


Met = dict[str, str]
"""Path of a condition under an ``&`` → why it was met."""


class Condition(ABC):
    """Says whether a chat is to end."""

    __slots__ = ()
    kind: ClassVar[str]

    @abstractmethod
    def reason(self, view: View) -> str | None:
        """Why the chat is to end now, or None."""

    def check(self, view: View, met: Met, path: str = "0") -> str | None:
        """Like ``reason``, for whole trees.

        Args:
            view: the chat as it stands.
            met: what was met before; gets what is met now.
            path: this condition's place in the tree.
        """
        return self.reason(view)

    def seconds(self) -> float | None:
        """After how many seconds the clock alone can meet it, or None."""
        return None

    def to_data(self) -> dict[str, Any]:
        """As JSON; a single value stands for the first field alone."""
        given = {
            item.name: list(value) if isinstance(value := getattr(self, item.name), tuple) else value
            for item in fields(self)  # type: ignore[arg-type]  # every concrete condition is a dataclass
            if item.default is MISSING or value_differs(self, item.name, item.default)
        }
        names = [item.name for item in fields(self)]  # type: ignore[arg-type]
        if not given:
            return {self.kind: True}
        if list(given) == names[:1]:
            return {self.kind: given[names[0]]}
        return {self.kind: given}

    def __or__(self, other: Condition) -> AnyOf:
        return AnyOf((*_parts(self, AnyOf), *_parts(other, AnyOf)))

    def __and__(self, other: Condition) -> AllOf:
        return AllOf((*_parts(self, AllOf), *_parts(other, AllOf)))


def value_differs(item: object, name: str, default: object) -> bool:
    """Whether a field has another value than its default."""
    return bool(getattr(item, name) != default)


def _parts(condition: Condition, kind: type[AnyOf | AllOf]) -> tuple[Condition, ...]:
    return condition.conditions if isinstance(condition, kind) else (condition,)


@dataclass(frozen=True, slots=True)
class AnyOf(Condition):
    """Ends when one of its conditions is met: ``a | b``."""

    kind: ClassVar[str] = "any"
    conditions: tuple[Condition, ...]

    def reason(self, view: View) -> str | None:
        return self.check(view, {})

    def check(self, view: View, met: Met, path: str = "0") -> str | None:
        # All are asked, so that each can note what it was waiting for.
        reasons = [item.check(view, met, f"{path}.{number}") for number, item in enumerate(self.conditions)]
        return next((reason for reason in reasons if reason), None)

    def seconds(self) -> float | None:
        return min((value for item in self.conditions if (value := item.seconds()) is not None), default=None)

    def to_data(self) -> dict[str, Any]:
        return {self.kind: [item.to_data() for item in self.conditions]}


@dataclass(frozen=True, slots=True)
class AllOf(Condition):
    """Ends when each of its conditions has been met, at once or one after another: ``a & b``."""

    kind: ClassVar[str] = "all"
    conditions: tuple[Condition, ...]

    def reason(self, view: View) -> str | None:
        return self.check(view, {})

    def check(self, view: View, met: Met, path: str = "0") -> str | None:
        reasons = []
        for number, item in enumerate(self.conditions):
            place = f"{path}.{number}"
            if place not in met and (reason := item.check(view, met, place)):
                met[place] = reason
            reasons.append(met.get(place))
        return " and ".join(map(str, reasons)) if all(reasons) else None

    def seconds(self) -> float | None:
        return min((value for item in self.conditions if (value := item.seconds()) is not None), default=None)

    def to_data(self) -> dict[str, Any]:
        return {self.kind: [item.to_data() for item in self.conditions]}


def uses(condition: Condition | None, kind: type[Condition]) -> bool:
    """Whether a condition of that kind is in the tree."""
    if isinstance(condition, AnyOf | AllOf):
        return any(uses(item, kind) for item in condition.conditions)
    return isinstance(condition, kind)
