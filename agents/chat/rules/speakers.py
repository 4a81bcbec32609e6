"""Who speaks next.

Selectors are plain values like conditions. Each decides from the chat's state alone, so that a chat that is taken up
by another process, or repeated, chooses the same.

>>> view = Choosing(members=(Candidate("writer"), Candidate("critic")), rounds=3)
>>> RoundRobin().choose(view).names
('critic',)
>>> RandomSpeaker(seed=7).choose(view) == RandomSpeaker(seed=7).choose(view)
True
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from random import Random
from typing import Any, ClassVar

from agents.chat.rules.functions import get_function
from agents.chat.rules.messages import Entry


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member, as selectors see it.

    Args:
        name, description: of the member.
        capabilities: what it can do, in words.
        handoffs: to whom it may hand over; empty for everyone.
    """

    name: str
    description: str = ""
    capabilities: tuple[str, ...] = ()
    handoffs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """What selectors look at.

    Args:
        members: in the definition's order.
        rounds: how many rounds there were.
        messages: the last entries of the transcript.
        last: the last entry that a member or a person said.
        last_turns: member → its last turn's number.
    """

    members: Sequence[Candidate]
    rounds: int = 0
    messages: Sequence[Entry] = ()
    last: Entry | None = None
    last_turns: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.members]


@dataclass(frozen=True, slots=True)
class Speak:
    """These speak next, all at once.

    Args:
        names: of the members.
        note: what the transcript is to say of the choice: that it is not what was asked for.
        remark: what the log is to say of it.
    """

    names: tuple[str, ...]
    note: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class AskSelector:
    """An agent shall choose."""

    agent: str
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskPerson:
    """A person shall choose."""


Choice = Speak | AskSelector | AskPerson


class Selector(ABC):
    """Chooses who speaks next."""

    __slots__ = ()
    kind: ClassVar[str]

    @abstractmethod
    def choose(self, view: Choosing) -> Choice:
        """The next choice. ``Speak(())`` when there is nobody to speak: the chat ends."""

    def fall_back(self, view: Choosing) -> Speak:
        """The choice when the one who was asked gives none."""
        return RoundRobin().choose(view)

    def to_data(self) -> Any:
        """As JSON: the kind alone, or with its fields."""
        given: dict[str, Any] = {}
        for item in fields(self):  # type: ignore[arg-type]  # every concrete selector is a dataclass
            value = getattr(self, item.name)
            if item.default is MISSING or value != item.default:
                given[item.name] = value
        return {"kind": self.kind, **_plain(given)} if given else self.kind


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class RoundRobin(Selector):
    """One after another, in the order of the definition."""

    kind: ClassVar[str] = "round_robin"

    def choose(self, view: Choosing) -> Speak:
        return Speak((view.names[view.rounds % len(view.members)],))


@dataclass(frozen=True, slots=True)
class RandomSpeaker(Selector):
    """At random, the same for the same seed.

    Args:
        seed: any number.
        repeat: whether the one who spoke last may be next.
    """

    kind: ClassVar[str] = "random"
    seed: int = 0
    repeat: bool = False

    def choose(self, view: Choosing) -> Speak:
        chance = Random(f"{self.seed}/{view.rounds}")  # noqa: S311  # nosec B311  # repeatable, no secret
        return Speak((chance.choice(_others(view, repeat=self.repeat)),))


def _others(view: Choosing, *, repeat: bool) -> list[str]:
    last = view.last.speaker if view.last else ""
    return [name for name in view.names if repeat or name != last] or view.names


@dataclass(frozen=True, slots=True)
class Manual(Selector):
    """A person chooses each speaker (an approval of the purpose ``speaker``)."""

    kind: ClassVar[str] = "manual"

    def choose(self, view: Choosing) -> AskPerson:
        return AskPerson()


@dataclass(frozen=True, slots=True)
class ByHandoff(Selector):
    """The speaker names the next one (``Reply(handoff=…)``) and goes on itself as long as it names none.

    Args:
        first: who begins; the first member by default.
    """

    kind: ClassVar[str] = "handoff"
    first: str = ""

    def choose(self, view: Choosing) -> Speak:
        known = {member.name: member for member in view.members}
        last = view.last
        if last is None or last.speaker not in known:
            return Speak((self.first or view.names[0],))
        if not last.handoff:
            return Speak((last.speaker,))
        allowed = known[last.speaker].handoffs or view.names
        if last.handoff in known and last.handoff in allowed:
            return Speak((last.handoff,))
        meant = find_name(last.handoff, allowed)
        if meant is not None:
            return Speak((meant,), remark=f"{last.speaker} handed over to {last.handoff!r}, taken as {meant!r}")
        why = "to whom it may not" if last.handoff in known else "who is no member"
        return Speak(
            (last.speaker,),
            note=f"{last.speaker} handed over to {last.handoff!r}, {why}; possible: {', '.join(allowed)}. "
            f"{last.speaker} goes on.",
        )


@dataclass(frozen=True, slots=True)
class ByCapability(Selector):
    """The member whose capabilities fit best what was said last: first what it asks for (``Reply(needs=…)``), then
    the words in it.

    Among equals, the one that has been silent longest; when nobody fits, the next in order.
    """

    kind: ClassVar[str] = "capability"

    def choose(self, view: Choosing) -> Speak:
        entry = view.messages[-1] if view.messages else None
        if entry is None:
            return self.fall_back(view)
        words = set(re.findall(r"\w+", entry.content.lower()))
        needs = {need.lower() for need in entry.needs}
        others = _others(view, repeat=False)
        scores = {
            member.name: (
                sum(1 for item in member.capabilities if item.lower() in needs),
                sum(1 for item in member.capabilities if set(re.findall(r"\w+", item.lower())) <= words),
            )
            for member in view.members
            if member.name in others
        }
        best = max(scores.values())
        if best == (0, 0):
            return replace(
                self.fall_back(view), remark=f"nobody's capabilities fit entry {entry.number}; the next in order speaks"
            )
        fitting = [name for name, score in scores.items() if score == best]
        return Speak((min(fitting, key=lambda name: view.last_turns.get(name, 0)),))


@dataclass(frozen=True, slots=True)
class ByModel(Selector):
    """An agent, usually one that asks a language model, chooses; if it gives no member's name in time, the next in
    order speaks.

    Args:
        agent: name of the agent that gets ``chat.select``.
        repeat: whether the one who spoke last may be next.
    """

    kind: ClassVar[str] = "model"
    agent: str
    repeat: bool = False

    def choose(self, view: Choosing) -> AskSelector:
        return AskSelector(self.agent, tuple(_others(view, repeat=self.repeat)))


@dataclass(frozen=True, slots=True)
class Parallel(Selector):
    """Groups in turn; the members of a group speak at once, and the chat goes on when all have answered.

    Args:
        groups: member names; empty for one group of all.
    """

    kind: ClassVar[str] = "parallel"
    groups: tuple[tuple[str, ...], ...] = ()

    def choose(self, view: Choosing) -> Speak:
        if not self.groups:
            return Speak(tuple(view.names))
        return Speak(self.groups[view.rounds % len(self.groups)])


@dataclass(frozen=True, slots=True)
class ByFunction(Selector):
    """A registered function (``@chat_function``) chooses.

    It takes ``Choosing`` and returns a name, several, or None to end.
    """

    kind: ClassVar[str] = "function"
    function: str

    def choose(self, view: Choosing) -> Speak:
        chosen = get_function(self.function)(view)
        if chosen is None:
            return Speak(())
        names = (chosen,) if isinstance(chosen, str) else tuple(chosen)
        strange = [name for name in names if name not in view.names]
        if not strange:
            return Speak(names)
        named = ", ".join(map(repr, strange))
        members = ", ".join(view.names)
        return replace(
            self.fall_back(view),
            note=f"{self.function} chose {named}, no member; members are {members}. The next in order speaks.",
        )


SELECTORS: dict[str, type[Selector]] = {
    item.kind: item
    for item in (RoundRobin, RandomSpeaker, Manual, ByHandoff, ByCapability, ByModel, Parallel, ByFunction)
}


def find_name(text: str, candidates: Sequence[str]) -> str | None:
    """The one candidate whose name stands in a text, however it is written; None for none or several.

    >>> find_name("The next speaker is: **critic**.", ["critic", "critic-2", "writer"])
    'critic'
    >>> find_name("writer or critic", ["critic", "writer"]) is None
    True
    >>> find_name("__Travel Planner__, please", ["travel-planner", "critic"])
    'travel-planner'
    """
    words = set(re.findall(r"[a-z0-9][a-z0-9._-]*[a-z0-9]|[a-z0-9]", text.lower()))
    named = [name for name in candidates if name in words]
    if not named:
        said = f"-{_plain_name(text)}-"
        named = [name for name in candidates if f"-{_plain_name(name)}-" in said]
    return named[0] if len(named) == 1 else None


def _plain_name(text: str) -> str:
    """A text with everything but letters and digits as hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
