"""Whether a chat is to end now."""

from __future__ import annotations

from collections.abc import Sequence

from agents.chat.conditions import External
from agents.chat.messages import Said
from agents.chat.state import ChatState
from agents.chat.termination import View, uses
from agents.team.definitions import TeamDefinition


def reason_to_end(team: TeamDefinition, state: ChatState, history: Sequence[Said], now: float) -> str | None:
    """Why the chat is to end now, or None. Notes in the state what was checked and met.

    Args:
        team, state, history: of the chat.
        now: seconds since the epoch.
    """
    view = View(
        task=state.task,
        new=[said for said in history if said.number > state.checked],
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
