"""The conditions that can end a chat. They combine with ``|`` and ``&``: see ``agents.chat.rules.termination``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.chat.rules.functions import get_function
from agents.chat.rules.termination import Condition, View


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
        for entry in view.new:
            if entry.is_speech and self.text in entry.content and (not self.sources or entry.speaker in self.sources):
                return f"{entry.speaker} said {self.text!r}"
        return None


@dataclass(frozen=True, slots=True)
class StopMessage(Condition):
    """Ends when a member says so (``Reply(stop=True)``)."""

    kind: ClassVar[str] = "stop_message"

    def reason(self, view: View) -> str | None:
        return next((f"{entry.speaker} stopped the chat" for entry in view.new if entry.stop), None)


@dataclass(frozen=True, slots=True)
class Handoff(Condition):
    """Ends when a member hands over to ``target``, such as a person outside the chat."""

    kind: ClassVar[str] = "handoff"
    target: str

    def reason(self, view: View) -> str | None:
        return next(
            (f"{entry.speaker} handed over to {self.target}" for entry in view.new if entry.handoff == self.target),
            None,
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
            (f"{entry.speaker} spoke" for entry in view.new if entry.is_speech and entry.speaker in self.sources), None
        )


@dataclass(frozen=True, slots=True)
class FunctionCall(Condition):
    """Ends when a member called the function."""

    kind: ClassVar[str] = "function_call"
    name: str

    def reason(self, view: View) -> str | None:
        return next((f"{entry.speaker} called {self.name}" for entry in view.new if self.name in entry.calls), None)


@dataclass(frozen=True, slots=True)
class External(Condition):
    """Ends when somebody outside asks for it (``manager.stop``)."""

    kind: ClassVar[str] = "external"

    def reason(self, view: View) -> str | None:
        return "stopped from outside" if view.stop_requested else None


@dataclass(frozen=True, slots=True)
class Functional(Condition):
    """Ends when a registered function (``@chat_function``) says so.

    It takes the ``View`` and returns a bool or the reason.
    """

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
