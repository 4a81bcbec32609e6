"""What is to be done after a step of a chat."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agents.chat.engine.state import Purpose
from agents.chat.rules.messages import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A person is to be asked.

    Args:
        key: unique in the chat.
        path: of the chat within the chat.
        purpose: what for.
        member: whose turn it is; "" when a speaker is to be chosen.
        question: what the person is asked.
        content: what the member wants to say, for an approval.
        options: answers to choose from; for ``SPEAKER`` only these are valid.
        deadline: seconds since the epoch.
    """

    key: str
    path: str
    purpose: Purpose
    member: str
    question: str
    content: str
    options: tuple[str, ...]
    deadline: float


@dataclass(slots=True)
class Effects:
    """What is to be done after a step, all of it or nothing.

    Args:
        sends: (agent, message type, data).
        entries: (path, entry of the transcript).
        snapshots: entry number → the state right behind it, from which the chat can be forked.
        requests: people to ask.
        withdrawn: keys of requests that need no answer any more.
        ended: the whole chat is over.
        ignored: answers that came too late or from the wrong agent.
        remarks: for the log: what was understood although it was not said quite so.
    """

    sends: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    entries: list[tuple[str, Entry]] = field(default_factory=list)
    snapshots: dict[int, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    ended: bool = False
    ignored: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Scene:
    """What a chat and its sub-chats share while a step is made.

    Args:
        now: seconds since the epoch.
        max_bytes: how long a turn may be as JSON.
        history: path → the last entries of the transcript there; extended in place.
        effects: what is to be done.
    """

    now: float
    max_bytes: int
    history: dict[str, list[Entry]]
    effects: Effects = field(default_factory=Effects)
    _later: deque[Callable[[], None]] = field(default_factory=deque)

    def later(self, action: Callable[[], None]) -> None:
        """Do something at the end of the step. Sub-chats that end at once must not pile up on the stack."""
        self._later.append(action)

    def finish(self) -> None:
        """Do what was put off."""
        while self._later:
            self._later.popleft()()
