"""What a member gets to see when it is its turn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from agents.chat.engine.state import ChatState, Wait
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.messages import NOTHING_USED, Entry, Kind, MemberInfo, Turn

MAX_TURN_CHARACTERS = 100_000
"""How much of the transcript a turn carries at most; older entries are left out first."""


def make_turn(
    team: TeamDefinition,
    state: ChatState,
    history: Sequence[Entry],
    wait: Wait,
    *,
    path: str,
    candidates: Collection[str] | None = None,
    handoffs: tuple[str, ...] = (),
) -> Turn:
    """Put together a turn.

    Args:
        team, state, history: of the chat.
        wait: the wait that the answer will end.
        path: of the chat within the chat.
        candidates: the members that are named in it; None for all.
        handoffs: to whom the speaker may hand over.
    """
    return Turn(
        chat=path,
        turn=wait.turn,
        speaker=wait.speaker,
        task=state.task,
        attempt=wait.attempt,
        members=tuple(
            MemberInfo(member.name, member.description)
            for member in team.members
            if candidates is None or member.name in candidates
        ),
        messages=_shown(history[-team.limits.history :]),
        prompt=wait.prompt,
        handoffs=handoffs,
    )


def selection_prompt(team: TeamDefinition, candidates: Collection[str]) -> str:
    """What the agent that chooses the next speaker is asked."""
    known = [member for member in team.members if member.name in candidates]
    names = "\n".join(f"- {member.name}: {member.description}".rstrip(": ") for member in known)
    return f"Who speaks next? Answer with one of these names and nothing else.\n{names}"


def task_for(state: ChatState, history: Sequence[Entry], wait: Wait) -> str:
    """What a team that is a member is given as its task."""
    last = history[-1]
    if wait.prompt:
        return wait.prompt
    return last.content if last.kind is Kind.TASK else f"{state.task}\n\n{last.speaker}: {last.content}"


def _shown(history: Sequence[Entry]) -> tuple[Entry, ...]:
    """The last entries, as many as fit."""
    left = MAX_TURN_CHARACTERS
    shown: list[Entry] = []
    for entry in reversed(history):
        content = entry.content
        if len(content) > left:
            if shown:
                break
            content = content[:left] + " … (cut)"
        left -= len(content)
        shown.append(msgspec.structs.replace(entry, content=content, data=None, usage=NOTHING_USED, at=0.0))
    return tuple(reversed(shown))
