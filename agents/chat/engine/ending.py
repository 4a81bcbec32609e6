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
    return reason or _limit_reached(team, state)


def _limit_reached(team: TeamDefinition, state: ChatState) -> str | None:
    limits = team.limits
    if state.count >= limits.max_messages:
        return f"{state.count} messages, the limit of the team (limits.max_messages)"
    if team.max_turns is not None and state.turn >= team.max_turns:
        if limits.max_turns is None:
            return (
                f"{state.turn} turns, as the team has no termination: give it one, or say how many with "
                "limits.max_turns"
            )
        return f"{state.turn} turns, the limit of the team (limits.max_turns)"
    if limits.max_tokens is not None and state.usage.tokens >= limits.max_tokens:
        return f"{state.usage.tokens} of {limits.max_tokens} tokens used (limits.max_tokens)"
    return None


def result_of(team: TeamDefinition, history: Sequence[Entry]) -> str:
    """What a chat results in: for the chat that it is a member of, and for whoever asked for it."""
    spoken = [entry for entry in history if entry.is_speech]
    if team.result is ResultPolicy.ALL:
        return "\n\n".join(f"{entry.speaker}: {entry.content}" for entry in spoken)
    return spoken[-1].content if spoken else ""
