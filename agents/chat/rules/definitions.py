"""What a team is: its members and the rules of their conversation.

A definition is a plain value. It holds no code and no connection, so the same one runs in both modes, from Python, a
file or a database row; a chat keeps the definition that it was started with, whatever is deployed or edited meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from agents.chat.rules.speakers import Candidate, RoundRobin, Selector
from agents.chat.rules.termination import Condition

DAY = 86_400.0

DEFAULT_TURNS = 50
"""Turns of a team that does not say when it ends."""


class OnTimeout(StrEnum):
    """What becomes of a turn that got no answer."""

    RETRY = "retry"  # ask again, ``attempts`` times in all; then skip
    SKIP = "skip"  # go on without it
    END = "end"  # end the chat


class OnRejection(StrEnum):
    """What becomes of a turn whose message a person rejected."""

    RETRY = "retry"  # the member speaks again, ``attempts`` times in all; then continue
    CONTINUE = "continue"  # go on without it
    END = "end"


class OnApprovalTimeout(StrEnum):
    """What becomes of an approval that nobody answered in time."""

    REJECT = "reject"
    APPROVE = "approve"
    END = "end"


class OnDeadlock(StrEnum):
    """What becomes of members that wait for each other."""

    REFUSE = "refuse"  # the question that would close the circle is not put; its asker goes on without an answer
    WITHDRAW_OLDEST = "withdraw_oldest"  # the oldest question in the circle is withdrawn instead
    END = "end"


class ResultPolicy(StrEnum):
    """What a chat hands to the chat that it is a member of, and to whoever waits for it."""

    LAST = "last"  # the last thing said
    ALL = "all"  # everything said, one after another


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds and policies of a chat. Times are in seconds."""

    turn_timeout: float = 120.0  # until a turn counts as unanswered
    on_timeout: OnTimeout = OnTimeout.RETRY
    attempts: int = 3  # for a turn that is not answered, or whose message is rejected
    approval_timeout: float = 7 * DAY  # how long a person has to answer
    on_approval_timeout: OnApprovalTimeout = OnApprovalTimeout.REJECT
    on_rejection: OnRejection = OnRejection.RETRY
    on_deadlock: OnDeadlock = OnDeadlock.REFUSE
    questions: int = 5  # to other members within one turn
    history: int = 50  # entries of the transcript that a member gets to see
    max_messages: int = 1_000  # of the transcript, whatever the termination says
    max_turns: int | None = None  # None: DEFAULT_TURNS for a team without termination, otherwise no limit of turns
    max_tokens: int | None = 1_000_000  # of all members, sub-chats included; None only for who knows what it costs
    on_failure: str = "park"  # of a handler, for good: park the workflow, or skip the member (its turn times out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a team: an agent, a person or a team.

    Args:
        name: unique in the team.
        agent: the agent that speaks; the name by default. Ignored for people and teams.
        description: for the other members and for selectors.
        capabilities: for ``ByCapability``.
        handoffs: to whom it may hand over; empty for everyone.
        approval: a person must approve what it says.
        human: a person speaks; each turn is an approval of the purpose ``input``.
        team: a team that holds a chat of its own each time it is its turn.
    """

    name: str
    agent: str = ""
    description: str = ""
    capabilities: tuple[str, ...] = ()
    handoffs: tuple[str, ...] = ()
    approval: bool = False
    human: bool = False
    team: TeamDefinition | None = None

    @property
    def agent_name(self) -> str:
        return self.agent or self.name

    def candidate(self) -> Candidate:
        """The member as selectors see it."""
        return Candidate(self.name, self.description, self.capabilities, self.handoffs)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamDefinition:
    """A team.

    Args:
        name: of the team.
        members: at least one.
        description: for people, and for the chat that it is a member of.
        selection: who speaks next.
        termination: when the chat ends; None: after ``DEFAULT_TURNS`` turns, or ``limits.max_turns``.
        limits: bounds and policies.
        result: what its chat results in.
    """

    name: str
    members: tuple[Member, ...]
    description: str = ""
    selection: Selector = field(default_factory=RoundRobin)
    termination: Condition | None = None
    limits: Limits = field(default_factory=Limits)
    result: ResultPolicy = ResultPolicy.LAST

    @property
    def max_turns(self) -> int | None:
        """After how many turns its chats end, whatever is said; None for no such limit."""
        if self.limits.max_turns is None and self.termination is None:
            return DEFAULT_TURNS
        return self.limits.max_turns

    def member(self, name: str) -> Member | None:
        """The member of that name, if there is one."""
        return next((member for member in self.members if member.name == name), None)

    def agents(self) -> Iterator[str]:
        """The names of all agents that take part, sub-teams and selectors included; some may come twice."""
        for member in self.members:
            if member.team is not None:
                yield from member.team.agents()
            elif not member.human:
                yield member.agent_name
        selector = getattr(self.selection, "agent", "")
        if selector:
            yield selector

    def to_data(self) -> dict[str, Any]:
        """As JSON; ``agents.chat.rules.schema.read_team`` reads it again."""
        data: dict[str, Any] = {"name": self.name, "members": [_member_data(member) for member in self.members]}
        if self.description:
            data["description"] = self.description
        data["selection"] = self.selection.to_data()
        if self.termination is not None:
            data["termination"] = self.termination.to_data()
        limits = {
            item.name: getattr(self.limits, item.name)
            for item in fields(Limits)
            if getattr(self.limits, item.name) != item.default
        }
        if limits:
            data["limits"] = {
                name: str(value) if isinstance(value, StrEnum) else value for name, value in limits.items()
            }
        if self.result is not ResultPolicy.LAST:
            data["result"] = str(self.result)
        return data


def _member_data(member: Member) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for item in fields(Member):
        value = getattr(member, item.name)
        if value in ("", (), False, None):
            continue
        if isinstance(value, TeamDefinition):
            data[item.name] = value.to_data()
        else:
            data[item.name] = list(value) if isinstance(value, tuple) else value
    return data
