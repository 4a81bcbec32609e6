"""What a sound policy is. Every problem is found here, whether the policy came from code, a file or the database."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence

from messaging.core.errors import AccessPolicyError
from messaging.core.names import AGENT_NAME_RULE, is_agent_name
from messaging.security.access.patterns import agent_pattern_problem, type_pattern_problem
from messaging.security.access.policy import GROUP_PREFIX, ROLE_PREFIX, Effect, Grant, Policy
from messaging.security.access.roles import find_cycle

MAX_ROLES = 1_000
MAX_TEAMS = 1_000
MAX_GRANTS = 5_000
MAX_MEMBERS = 5_000
"""Of one role or team."""
MAX_USES = 2_000_000_000

Problem = tuple[str, str]
"""Path and what is wrong there."""


def check_policy(policy: Policy) -> None:
    """Refuse a policy that cannot work.

    Raises:
        AccessPolicyError: the first problem, with its path and the fix.
    """
    for path, problem in _problems(policy):
        raise AccessPolicyError(problem, path=path)


def _problems(policy: Policy) -> Iterator[Problem]:
    yield from _sizes(policy)
    yield from _names("roles", [role.name for role in policy.roles])
    yield from _names("teams", [team.name for team in policy.teams])
    yield from _names("grants", [grant.name for grant in policy.grants])
    roles = frozenset(role.name for role in policy.roles)
    for role in policy.roles:
        yield from _members(f"roles.{role.name}.agents", role.agents)
        for number, parent in enumerate(role.inherits):
            if parent not in roles:
                yield f"roles.{role.name}.inherits[{number}]", _unknown("role", parent, roles)
    cycle = find_cycle({role.name: role.inherits for role in policy.roles})
    if cycle:
        yield (
            f"roles.{cycle[0]}.inherits",
            f"roles inherit each other in a circle: {' → '.join(cycle)}; take one of these steps out",
        )
    for team in policy.teams:
        yield from _members(f"teams.{team.name}", team.agents)
    teams = frozenset(team.name for team in policy.teams)
    for number, grant in enumerate(policy.grants):
        for field, problem in _grant(grant, roles, teams):
            yield f"grants[{number}].{field}", f"{problem} (grant {grant.name!r})"


def _sizes(policy: Policy) -> Iterator[Problem]:
    for part, found, most in (
        ("roles", len(policy.roles), MAX_ROLES),
        ("teams", len(policy.teams), MAX_TEAMS),
        ("grants", len(policy.grants), MAX_GRANTS),
    ):
        if found > most:
            yield part, f"{found} are too many; at most {most}. Use patterns and roles to say the same in fewer"


def _names(part: str, names: Sequence[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        path = f"{part}[{number}].name" if part == "grants" else f"{part}.{name[:120]}"
        if not is_agent_name(name):
            yield path, f"{name[:120]!r} cannot be a name; expected {AGENT_NAME_RULE}"
        if name in seen:
            yield path, f"{name!r} stands here twice; give one of them another name"
        seen.add(name)


def _members(path: str, patterns: Sequence[str]) -> Iterator[Problem]:
    if len(patterns) > MAX_MEMBERS:
        yield path, f"{len(patterns)} are too many; at most {MAX_MEMBERS}. Use patterns"
    seen: set[str] = set()
    for number, pattern in enumerate(patterns):
        problem = agent_pattern_problem(pattern)
        if problem:
            yield f"{path}[{number}]", problem
        elif pattern in seen:
            yield f"{path}[{number}]", f"{pattern!r} stands here twice; take one out"
        seen.add(pattern)


def _grant(grant: Grant, roles: Collection[str], teams: Collection[str]) -> Iterator[Problem]:
    for field, value in (("sender", grant.sender), ("recipient", grant.recipient)):
        problem = _party(value, roles, groups=field == "recipient")
        if problem:
            yield field, problem
    problem = type_pattern_problem(grant.type)
    if problem:
        yield "type", problem
    if grant.team and grant.team not in teams:
        yield "team", _unknown("team", grant.team, teams)
    for field, moment in (("starts", grant.starts), ("ends", grant.ends)):
        if moment is not None and moment.utcoffset() is None:
            yield field, f"{moment.isoformat()} has no time zone; write it as {moment.isoformat()}Z, for UTC"
            return
    if grant.starts is not None and grant.ends is not None and grant.starts >= grant.ends:
        yield "ends", "not after 'starts', so the grant would never hold; swap or correct them"
    if grant.uses is not None:
        if grant.effect is Effect.DENY:
            yield "uses", "a deny cannot be used up; leave 'uses' out, or bound it by 'ends'"
        if not 0 <= grant.uses <= MAX_USES:
            yield "uses", f"{grant.uses} is not from 0 to {MAX_USES}; leave 'uses' out for any number"


def _party(value: str, roles: Iterable[str], *, groups: bool) -> str:
    if value.startswith(ROLE_PREFIX):
        name = value.removeprefix(ROLE_PREFIX)
        return "" if name in roles else _unknown("role", name, roles)
    if value.startswith(GROUP_PREFIX):
        if not groups:
            return f"{value[:120]!r}: groups send nothing; name an agent, a pattern or role:NAME"
        name = value.removeprefix(GROUP_PREFIX)
        return "" if is_agent_name(name) else f"{name[:120]!r} cannot name a group; expected {AGENT_NAME_RULE}"
    return agent_pattern_problem(value)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    return f"no {kind} is named {name[:120]!r}; {suggest(name, known)}"


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which of the known names may have been meant."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:120], names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names[:20])}" if names else "there is none yet, so add it first"
