"""When a chat ends: conditions that combine with ``|`` and ``&``.

Conditions are plain values: they keep nothing, so a definition can be stored, shared by many chats and used in both modes. What
was met earlier (for ``&``) is kept in the chat's state.

>>> ending = TextMention("APPROVED", sources=("critic",)) & MaxRounds(2) | MaxMessages(20)
>>> ending.to_data()
{'any': [{'all': [{'text_mention': {'text': 'APPROVED', 'sources': ['critic']}}, {'max_rounds': 2}]}, {'max_messages': 20}]}
>>> ending.check(View(count=20), {})
'20 messages'
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from agents.chat.functions import get_function
from agents.chat.messages import NOTHING_USED, Said, Usage


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
    new: Sequence[Said] = ()
    messages: Sequence[Said] = ()
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


@dataclass(frozen=True, slots=True)
class MaxMessages(Condition):
    """Ends when the transcript has so many entries, the task included."""

    kind: ClassVar[str] = "max_messages"
    limit: int

    def reason(self, view: View) -> str | None:
        return f"{view.count} messages" if view.count >= self.limit else None


@dataclass(frozen=True, slots=True)
class MaxRounds(Condition):
    """Ends after so many rounds: choices of speakers that were answered."""

    kind: ClassVar[str] = "max_rounds"
    limit: int

    def reason(self, view: View) -> str | None:
        return f"{view.rounds} rounds" if view.rounds >= self.limit else None


@dataclass(frozen=True, slots=True)
class TextMention(Condition):
    """Ends when a member (one of ``sources``, if given) or a person mentions a text. The task does not count."""

    kind: ClassVar[str] = "text_mention"
    text: str
    sources: tuple[str, ...] = ()

    def reason(self, view: View) -> str | None:
        for said in view.new:
            if said.is_speech and self.text in said.content and (not self.sources or said.speaker in self.sources):
                return f"{said.speaker} said {self.text!r}"
        return None


@dataclass(frozen=True, slots=True)
class StopMessage(Condition):
    """Ends when a member says so (``Reply(stop=True)``)."""

    kind: ClassVar[str] = "stop_message"

    def reason(self, view: View) -> str | None:
        return next((f"{said.speaker} stopped the chat" for said in view.new if said.stop), None)


@dataclass(frozen=True, slots=True)
class Handoff(Condition):
    """Ends when a member hands over to ``target``, such as a person outside the chat."""

    kind: ClassVar[str] = "handoff"
    target: str

    def reason(self, view: View) -> str | None:
        return next(
            (f"{said.speaker} handed over to {self.target}" for said in view.new if said.handoff == self.target), None
        )


@dataclass(frozen=True, slots=True)
class Timeout(Condition):
    """Ends so many seconds after the chat began, even while it waits."""

    kind: ClassVar[str] = "timeout"
    after: float

    def reason(self, view: View) -> str | None:
        return f"{self.after:g} s have passed" if view.elapsed >= self.after else None

    def seconds(self) -> float | None:
        return self.after


@dataclass(frozen=True, slots=True)
class TokenBudget(Condition):
    """Ends when the members have used so many tokens, sub-chats included. None: no limit of that kind."""

    kind: ClassVar[str] = "token_budget"
    total: int | None = None
    input: int | None = None
    output: int | None = None

    def reason(self, view: View) -> str | None:
        used = view.usage
        for name, amount, limit in (
            ("", used.tokens, self.total),
            ("input ", used.input_tokens, self.input),
            ("output ", used.output_tokens, self.output),
        ):
            if limit is not None and amount >= limit:
                return f"{amount} of {limit} {name}tokens used"
        return None


@dataclass(frozen=True, slots=True)
class CostBudget(Condition):
    """Ends when the members have cost so much, sub-chats included."""

    kind: ClassVar[str] = "cost_budget"
    limit: float

    def reason(self, view: View) -> str | None:
        return f"{view.usage.cost:.6g} of {self.limit:g} spent" if view.usage.cost >= self.limit else None


@dataclass(frozen=True, slots=True)
class SourceMatch(Condition):
    """Ends when one of these members has spoken."""

    kind: ClassVar[str] = "source_match"
    sources: tuple[str, ...]

    def reason(self, view: View) -> str | None:
        return next(
            (f"{said.speaker} spoke" for said in view.new if said.is_speech and said.speaker in self.sources), None
        )


@dataclass(frozen=True, slots=True)
class FunctionCall(Condition):
    """Ends when a member called the function."""

    kind: ClassVar[str] = "function_call"
    name: str

    def reason(self, view: View) -> str | None:
        return next((f"{said.speaker} called {self.name}" for said in view.new if self.name in said.calls), None)


@dataclass(frozen=True, slots=True)
class External(Condition):
    """Ends when somebody outside asks for it (``manager.stop``)."""

    kind: ClassVar[str] = "external"

    def reason(self, view: View) -> str | None:
        return "stopped from outside" if view.stop_requested else None


@dataclass(frozen=True, slots=True)
class Functional(Condition):
    """Ends when a registered function (``@chat_function``) says so: it takes the ``View`` and returns a bool or the reason."""

    kind: ClassVar[str] = "functional"
    function: str

    def reason(self, view: View) -> str | None:
        answer = get_function(self.function)(view)
        return (answer if isinstance(answer, str) else f"{self.function} said so") if answer else None


LEAVES: dict[str, type[Condition]] = {
    item.kind: item
    for item in (
        MaxMessages, MaxRounds, TextMention, StopMessage, Handoff, Timeout, TokenBudget, CostBudget, SourceMatch,
        FunctionCall, External, Functional,
    )
}  # fmt: skip


def uses(condition: Condition | None, kind: type[Condition]) -> bool:
    """Whether a condition of that kind is in the tree."""
    if isinstance(condition, AnyOf | AllOf):
        return any(uses(item, kind) for item in condition.conditions)
    return isinstance(condition, kind)
