"""What a team did in a chat, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from agents.chat.engine.state import ChatState, Status, WaitKind
from agents.chat.hosts.managers import NexusGroupChatManager
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.messages import NOTHING_USED, Entry, Usage
from agents.chat.rules.transcript import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberReport:
    """What a member did.

    Args:
        name: of the member.
        messages: entries of the transcript, sub-chats not included.
        usage: what they consumed; for a team, what its chats did.
        last_number: its last entry, 0 for none.
    """

    name: str
    messages: int
    usage: Usage
    last_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamReport:
    """How a chat stands.

    Args:
        chat: its id.
        team: the team's name.
        status, reason: whether it goes on, and why not.
        paused: whether its workflow is stopped.
        messages, rounds: so far.
        seconds: from the first entry to the last.
        usage: consumed by all, sub-chats included.
        members: in the definition's order.
        waiting_for: what the chat waits for, in words.
        missing: agent → positions of messages that are missing; empty for a healthy chat.
    """

    chat: UUID
    team: str
    status: str
    reason: str
    paused: bool
    messages: int
    rounds: int
    seconds: float
    usage: Usage
    members: tuple[MemberReport, ...]
    waiting_for: tuple[str, ...]
    missing: dict[str, list[int]]

    def data(self) -> dict[str, Any]:
        """As plain JSON values."""
        data = asdict(self)
        data["chat"] = str(self.chat)
        data["usage"] = _usage(self.usage)
        for member, item in zip(self.members, data["members"], strict=True):
            item["usage"] = _usage(member.usage)
        return data


def _usage(usage: Usage) -> dict[str, Any]:
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens, "cost": usage.cost}


def make_report(manager: NexusGroupChatManager, chat: UUID) -> TeamReport:
    """Report on a chat.

    Raises:
        UnknownChat: there is none with that id.
    """
    view, transcript = manager.view(chat), manager.transcript(chat)
    times = [entry.at for entry in transcript]
    return TeamReport(
        chat=chat,
        team=view.team.name,
        status=str(view.status),
        reason=view.reason,
        paused=view.paused,
        messages=len(transcript),
        rounds=view.state.rounds,
        seconds=round(times[-1] - times[0], 3) if times else 0.0,
        usage=view.state.usage,
        members=_members(view.team, transcript),
        waiting_for=tuple(_waiting(view.state)) if view.status is Status.RUNNING else (),
        missing=manager.missing_messages(chat),
    )


def _members(team: TeamDefinition, transcript: Transcript) -> tuple[MemberReport, ...]:
    spoken: dict[str, list[Entry]] = {}
    for entry in transcript:
        spoken.setdefault(entry.speaker, []).append(entry)
    return tuple(
        MemberReport(
            name=member.name,
            messages=len(spoken.get(member.name, ())),
            usage=sum((entry.usage for entry in spoken.get(member.name, ())), NOTHING_USED),
            last_number=max((entry.number for entry in spoken.get(member.name, ())), default=0),
        )
        for member in team.members
    )


def _waiting(state: ChatState) -> list[str]:
    words = []
    for path in state.paths():
        here = state.at(path)
        place = f" in sub-chat {path}" if path else ""
        for wait in here.waits if here else ():
            if wait.done:
                continue
            if wait.kind is WaitKind.PERSON:
                words.append(f"a person: {wait.purpose} for {wait.speaker or 'the choice of a speaker'}{place}")
            elif wait.kind is WaitKind.SELECT:
                words.append(f"the choice of a speaker{place}")
            else:
                words.append(f"{wait.speaker}, turn {wait.turn}, attempt {wait.attempt}{place}")
    return words
