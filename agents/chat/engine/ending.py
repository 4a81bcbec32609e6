"""Whether a chat is to end now, and what it results in."""

from __future__ import annotations

from collections.abc import Sequence

from agents.chat.engine.state import ChatState
from agents.chat.rules.conditions import External
from agents.chat.rules.definitions import ResultPolicy, TeamDefinition
from agents.chat.rules.messages import Entry
from agents.chat.rules.termination import View, uses


def reason_to_end(team: TeamDefinition, state: ChatState, history: Sequence[Entry], now: float) -> str | None:
    """Why the chat is to end now, or None. Notes in the state what was checked and met.

    Args:
        team, state, history: of the chat.
        now: seconds since the epoch.
    """
    view = View(
        task=state.task,
        new=[entry for entry in history if entry.number > state.checked],
        messages=history[-team.limits.history :],
        count=state.count,
        rounds=state.rounds,
        usage=state.usage,
        elapsed=now - state.started_at,
        stop_requested=state.stop_requested,
    )
    state.checked = state.count
    reason = team.termination.check(view, state.met) if team.termination else None
    if reason is None and state.stop_requested and not uses(team.termination, External):
        reason = "stopped from outside"
    if reason is None and state.count >= team.limits.max_messages:
        reason = f"{state.count} messages, the limit of the team"
    return reason


def result_of(team: TeamDefinition, history: Sequence[Entry]) -> str:
    """What a sub-chat hands to the chat that it is a member of."""
    spoken = [entry for entry in history if entry.is_speech]
    if team.result is ResultPolicy.ALL:
        return "\n\n".join(f"{entry.speaker}: {entry.content}" for entry in spoken)
    return spoken[-1].content if spoken else ""
