"""Which roles an agent has, and by which path."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from messaging.security.access.patterns import matcher
from messaging.security.access.policy import Role


def find_cycle(inherits: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a circle of roles, its first one again at the end; empty when there is none.

    Args:
        inherits: role → the roles that it inherits.
    """
    done: set[str] = set()
    for start in inherits:
        path: list[str] = []
        branches = [iter([start])]  # a stack of its own: a long chain must not end in a RecursionError
        while branches:
            role = next(branches[-1], None)
            if role is None:
                branches.pop()
                if path:
                    done.add(path.pop())
            elif role in path:
                return [*path[path.index(role) :], role]
            elif role not in done:
                path.append(role)
                branches.append(iter(inherits.get(role, ())))
    return []


class RoleIndex:
    """Answers which roles agents have.

    Args:
        roles: of a policy that was validated.
    """

    def __init__(self, roles: Sequence[Role]) -> None:
        self._roles = {role.name: role for role in roles}
        self._members = [(role.name, [matcher(pattern) for pattern in role.agents]) for role in roles]

    def paths(self, agent: str) -> dict[str, tuple[str, ...]]:
        """Role → the shortest way to it, beginning with the agent: ``("anna", "clerk", "reader")``."""
        found: dict[str, tuple[str, ...]] = {}
        waiting: deque[tuple[str, tuple[str, ...]]] = deque(
            (name, (agent, name)) for name, matches in self._members if any(match(agent) for match in matches)
        )
        while waiting:
            name, path = waiting.popleft()
            if name in found:
                continue
            found[name] = path
            waiting.extend((parent, (*path, parent)) for parent in self._roles[name].inherits)
        return found
