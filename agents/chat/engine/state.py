"""What a chat is at a moment: everything that decides how it goes on, as one JSON value.

The transcript is not part of it; its last entries are handed to each step beside the state.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from agents.chat.rules.messages import NOTHING_USED, Entry, Usage

VERSION = 1


class Status(StrEnum):
    RUNNING = "running"
    ENDED = "ended"
    CANCELLED = "cancelled"


class WaitKind(StrEnum):
    TURN = "turn"  # for a member's answer
    SELECT = "select"  # for an agent that chooses the next speaker
    PERSON = "person"  # for a person


class Purpose(StrEnum):
    """What a person is asked for."""

    APPROVAL = "approval"  # may this be said?
    INPUT = "input"  # what do you say?
    SPEAKER = "speaker"  # who speaks next?


class Wait(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that the chat waits for.

    Args:
        turn: its number, unique in the chat.
        kind: for whom it waits.
        speaker: the member whose turn it is; "" when a speaker is being chosen.
        deadline: seconds since the epoch; 0 for none: it waits for another of these waits, or for a sub-chat.
        attempt: how often it was asked.
        purpose, key: of a person's approval.
        answer: what was said; not yet in the transcript.
        done: whether it waits no more, with an answer or without.
        prompt: what the speaker is asked in particular.
        candidates: who may be chosen.
        asked_by: the turn whose speaker asked this question.
        waits_for: the turn that answers this speaker's question.
        queued: the question is not put yet, because the one asked waits for an answer itself.
        questions, rejections, postponed: how often that happened.
    """

    turn: int
    kind: WaitKind
    speaker: str = ""
    deadline: float = 0.0
    attempt: int = 1
    purpose: Purpose | None = None
    key: str = ""
    answer: Entry | None = None
    done: bool = False
    prompt: str = ""
    candidates: tuple[str, ...] = ()
    asked_by: int | None = None
    waits_for: int | None = None
    queued: bool = False
    questions: int = 0
    rejections: int = 0
    postponed: int = 0


class ChatState(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The state of a chat, or of a sub-chat in it.

    Args:
        version: of this format.
        status, reason: whether it goes on, and why not.
        task: what it is about.
        count: entries in the transcript.
        checked: up to which entry the termination was checked.
        turn: number of the last turn.
        rounds: how often speakers were chosen and have answered.
        usage: what was consumed, sub-chats included.
        started_at: seconds since the epoch.
        met: conditions under an ``&`` that were met before.
        stop_requested: whether somebody asked for the end.
        last_turns: member → its last turn.
        waits: what it waits for.
        children: turn → the sub-chat that is held in it.
    """

    version: int = VERSION
    status: Status = Status.RUNNING
    reason: str = ""
    task: str = ""
    count: int = 0
    checked: int = 0
    turn: int = 0
    rounds: int = 0
    usage: Usage = NOTHING_USED
    started_at: float = 0.0
    met: dict[str, str] = {}
    stop_requested: bool = False
    last_turns: dict[str, int] = {}
    waits: list[Wait] = []
    children: dict[str, ChatState] = {}

    def encode(self) -> str:
        """As JSON."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def decode(text: str) -> ChatState:
        """Read it again."""
        return _decoder.decode(text)

    def paths(self, prefix: str = "") -> list[str]:
        """The paths of this chat and of the sub-chats that are going on: "" , "7", "7.2"."""
        found = [prefix]
        for turn, child in self.children.items():
            found += child.paths(f"{prefix}.{turn}" if prefix else turn)
        return found

    def at(self, path: str) -> ChatState | None:
        """The state of the chat at a path, or None when it is over."""
        state: ChatState | None = self
        for turn in path.split(".") if path else ():
            state = state.children.get(turn) if state else None
        return state


_decoder = msgspec.json.Decoder(ChatState)
