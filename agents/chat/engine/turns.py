"""What a member gets to see when it is its turn."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from agents.chat.engine.state import ChatState, Wait
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.messages import NOTHING_USED, Entry, Kind, MemberInfo, Turn
from messaging.extension import cut_text, json_size

CUT = " … (cut)"
ENTRY_OVERHEAD = 300
"""Bytes of an entry, a member or a turn beside their texts, at most."""


def make_turn(
    team: TeamDefinition,
    state: ChatState,
    history: Sequence[Entry],
    wait: Wait,
    *,
    path: str,
    max_bytes: int,
    candidates: Collection[str] | None = None,
    handoffs: tuple[str, ...] = (),
) -> Turn:
    """Put together a turn that a message can carry: what a limit of bytes leaves no room for is cut, oldest first.

    Args:
        team, state, history: of the chat.
        wait: the wait that the answer will end.
        path: of the chat within the chat.
        max_bytes: how long it may be as JSON.
        candidates: the members that are named in it; None for all.
        handoffs: to whom the speaker may hand over.
    """
    share = max_bytes // 4
    shown = [member for member in team.members if candidates is None or member.name in candidates]
    each = max(len(CUT) + 10, share // len(shown) - ENTRY_OVERHEAD) if shown else 0
    task, prompt = cut_text(state.task, share, CUT), cut_text(wait.prompt, share, CUT)
    infos = tuple(MemberInfo(member.name, cut_text(member.description, each, CUT)) for member in shown)
    used = ENTRY_OVERHEAD + json_size(task) + json_size(prompt) + len(msgspec.json.encode((infos, handoffs)))
    return Turn(
        chat=path,
        turn=wait.turn,
        speaker=wait.speaker,
        task=task,
        attempt=wait.attempt,
        members=infos,
        messages=_shown(history[-team.limits.history :], max_bytes - used),
        prompt=prompt,
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


def _shown(history: Sequence[Entry], left: int) -> tuple[Entry, ...]:
    """The last entries, as many as fit; the last one of all is cut rather than left out."""
    shown: list[Entry] = []
    for whole in reversed(history):
        entry = msgspec.structs.replace(whole, data=None, usage=NOTHING_USED, at=0.0)
        size = len(msgspec.json.encode(entry)) + 1
        if size > left:
            if shown:
                break
            beside = size - json_size(entry.content)
            entry = msgspec.structs.replace(entry, content=cut_text(entry.content, left - beside, CUT))
            size = left
        left -= size
        shown.append(entry)
    return tuple(reversed(shown))
