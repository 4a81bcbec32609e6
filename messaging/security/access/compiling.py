"""A policy as a decision table.

Grants are bits: which of them a sender, a recipient and a type match is one number each, remembered by name, and what
applies to a request is what the three have in common. The answer is remembered by (sender, recipient, type, group), so
that a request costs one look-up, unless the moment or the workflow matters too.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from messaging.security.access.decision import AccessDecision, AccessRequest, Missing
from messaging.security.access.patterns import matcher
from messaging.security.access.policy import ANY, GROUP_PREFIX, ROLE_PREFIX, Effect, Grant, Policy
from messaging.security.access.roles import RoleIndex
from messaging.security.access.validating import check_policy

MAX_REMEMBERED = 50_000
"""Answers, and names of each kind. Names come from senders, so what is full is emptied."""

_Key = tuple[str, str, str, str]
_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Party:
    """What is known of an agent."""

    roles: dict[str, tuple[str, ...]]
    teams: frozenset[str]
    sends: int  # bits of the grants that it matches as a sender …
    receives: int  # … and as a recipient, groups aside


@dataclass(slots=True)
class _Conditional:
    """The grants that match a key, each with its decision; which one decides depends on the rest of the request."""

    rules: list[tuple[Grant, AccessDecision]]  # denies first
    allows: list[Grant]
    otherwise: AccessDecision


class DecisionTable:
    """Decides by a policy. Safe to share between threads.

    Args:
        policy: any; it is validated.

    Raises:
        AccessPolicyError: the policy cannot work.
    """

    def __init__(self, policy: Policy) -> None:
        check_policy(policy)
        self.policy = policy
        self.order = {grant.name: number for number, grant in enumerate(policy.grants)}
        """Place of each grant in the policy."""
        self._roles = RoleIndex(policy.roles)
        self._teams = [(team.name, [matcher(pattern) for pattern in team.agents]) for team in policy.teams]
        self._senders = [_party_matcher(grant.sender) for grant in policy.grants]
        self._recipients = [_party_matcher(grant.recipient) for grant in policy.grants]
        self._matches_type = [matcher(grant.type) for grant in policy.grants]
        self._parties: dict[str, _Party] = {}
        self._types: dict[str, int] = {}
        self._groups: dict[str, int] = {}
        self._answers: dict[_Key, AccessDecision | _Conditional] = {}

    def decide(self, request: AccessRequest, *, without: Container[str] = ()) -> AccessDecision:
        """Decide one request.

        Args:
            request: the question.
            without: names of grants that are used up.
        """
        key = (request.sender, request.recipient, request.type, request.group)
        answer = self._answers.get(key)
        if answer is None:
            answer = _remember(self._answers, key, self._answer(request))
        if isinstance(answer, AccessDecision):
            return answer
        for grant, decision in answer.rules:
            if not _unmet_conditions(grant, request, without):
                return decision
        if answer.otherwise.allowed or not answer.allows:
            return answer.otherwise
        return replace(answer.otherwise, missing=self._nearest(answer.allows, request, without))

    def roles_of(self, agent: str) -> dict[str, tuple[str, ...]]:
        """Role → the way to it, for the roles that an agent has."""
        return self._party(agent).roles

    def teams_of(self, agent: str) -> frozenset[str]:
        """The teams that an agent is in."""
        return self._party(agent).teams

    def unmet(self, grant: Grant, request: AccessRequest, *, without: Container[str] = ()) -> tuple[str, ...]:
        """What of a grant does not hold for a request, in words; empty when it applies."""
        number = self.order[grant.name]
        sender, recipient = self._party(request.sender), self._party(request.recipient)
        words = []
        if not self._senders[number](request.sender, sender.roles):
            words.append(f"its sender is {grant.sender}")
        to_group = bool(request.group) and grant.recipient == GROUP_PREFIX + request.group
        if not to_group and not self._recipients[number](request.recipient, recipient.roles):
            words.append(f"its recipient is {grant.recipient}")
        if grant.team and grant.team not in sender.teams & recipient.teams:
            words.append(f"they are not both in the team {grant.team}")
        if not self._matches_type[number](request.type):
            words.append(f"its type is {grant.type}")
        return (*words, *_unmet_conditions(grant, request, without))

    # --- the table ---

    def _answer(self, request: AccessRequest) -> AccessDecision | _Conditional:
        bits = self._party(request.sender).sends & self._type(request.type)
        bits &= self._party(request.recipient).receives | self._group(request.group)
        matching = [grant for grant in self._chosen(bits) if self._team_holds(grant, request)]
        denies = [grant for grant in matching if grant.effect is Effect.DENY]
        allows = [grant for grant in matching if grant.effect is Effect.ALLOW]
        for grant in denies:
            if not grant.conditional:
                return self._by_grant(grant, request)
        fallback = self._by_default(request)
        if fallback.allowed:  # nothing is counted that would be allowed anyway
            allows = [grant for grant in allows if grant.uses is None]
        always = next((grant for grant in allows if not grant.conditional), None)
        if always is not None:
            fallback, allows = self._by_grant(always, request), []
        elif not fallback.allowed and not allows:
            every = [grant for grant in self.policy.grants if grant.effect is Effect.ALLOW]
            fallback = replace(fallback, missing=self._nearest(every, request, ()))
        if not denies and not allows:
            return fallback
        allows.sort(key=lambda grant: grant.uses is not None)
        return _Conditional([(grant, self._by_grant(grant, request)) for grant in (*denies, *allows)], allows, fallback)

    def _chosen(self, bits: int) -> list[Grant]:
        grants = []
        while bits:
            lowest = bits & -bits
            grants.append(self.policy.grants[lowest.bit_length() - 1])
            bits ^= lowest
        return grants

    def _team_holds(self, grant: Grant, request: AccessRequest) -> bool:
        return not grant.team or (
            grant.team in self._party(request.sender).teams and grant.team in self._party(request.recipient).teams
        )

    def _by_grant(self, grant: Grant, request: AccessRequest) -> AccessDecision:
        return AccessDecision(
            allowed=grant.effect is Effect.ALLOW,
            grant=grant,
            sender_path=_path(grant.sender, self._party(request.sender)),
            recipient_path=_path(grant.recipient, self._party(request.recipient)),
        )

    def _by_default(self, request: AccessRequest) -> AccessDecision:
        one, other = self._party(request.sender).teams, self._party(request.recipient).teams
        name = "without_team" if not one or not other else "inside_team" if one & other else "across_teams"
        return AccessDecision(allowed=getattr(self.policy.defaults, name) is Effect.ALLOW, default=name)

    def _nearest(self, grants: Iterable[Grant], request: AccessRequest, without: Container[str]) -> Missing:
        unmet = [Missing(grant, self.unmet(grant, request, without=without)) for grant in grants]
        return min(unmet, key=lambda missing: len(missing.unmet), default=Missing(None, ()))

    # --- what is remembered of names ---

    def _party(self, agent: str) -> _Party:
        party = self._parties.get(agent)
        if party is None:
            roles = self._roles.paths(agent)
            teams = frozenset(name for name, matches in self._teams if any(match(agent) for match in matches))
            sends = sum(1 << number for number, match in enumerate(self._senders) if match(agent, roles))
            receives = sum(1 << number for number, match in enumerate(self._recipients) if match(agent, roles))
            party = _remember(self._parties, agent, _Party(roles, teams, sends, receives))
        return party

    def _type(self, type: str) -> int:
        bits = self._types.get(type)
        if bits is None:
            bits = sum(1 << number for number, match in enumerate(self._matches_type) if match(type))
            _remember(self._types, type, bits)
        return bits

    def _group(self, group: str) -> int:
        if not group:
            return 0
        bits = self._groups.get(group)
        if bits is None:
            wanted = GROUP_PREFIX + group
            bits = sum(1 << number for number, grant in enumerate(self.policy.grants) if grant.recipient == wanted)
            _remember(self._groups, group, bits)
        return bits


def _remember(memory: dict[_Name, _Value], name: _Name, value: _Value) -> _Value:
    if len(memory) >= MAX_REMEMBERED:
        memory.clear()
    memory[name] = value
    return value


def _party_matcher(pattern: str) -> Callable[[str, Container[str]], bool]:
    """A function of an agent's name and roles."""
    if pattern == ANY:
        return lambda agent, roles: True
    if pattern.startswith(ROLE_PREFIX):
        role = pattern.removeprefix(ROLE_PREFIX)
        return lambda agent, roles: role in roles
    if pattern.startswith(GROUP_PREFIX):
        return lambda agent, roles: False  # the group is looked at, not the agent
    match = matcher(pattern)
    return lambda agent, roles: match(agent)


def _path(pattern: str, party: _Party) -> tuple[str, ...]:
    return party.roles.get(pattern.removeprefix(ROLE_PREFIX), ()) if pattern.startswith(ROLE_PREFIX) else ()


def _unmet_conditions(grant: Grant, request: AccessRequest, without: Container[str]) -> tuple[str, ...]:
    """What of a grant's workflow, time and uses does not hold."""
    if not grant.conditional:
        return ()
    words = []
    if grant.workflow is not None and grant.workflow != request.workflow:
        words.append(f"it is for the workflow {grant.workflow}")
    if grant.starts is not None and request.at < grant.starts:
        words.append(f"it starts at {grant.starts.isoformat()}")
    if grant.ends is not None and request.at >= grant.ends:
        words.append(f"it ended at {grant.ends.isoformat()}")
    if request.counted and (grant.name in without or grant.uses == 0):
        words.append("it is used up")
    return tuple(words)
