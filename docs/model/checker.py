"""Tries every interleaving of a protocol, and reports the shortest way into trouble.

Two questions are asked:

- Is there a state, reachable by any steps and faults, in which something is wrong (``broken``)?
- Is there a state from which no steps without further faults lead to the end (``is_done``)? Then something is stuck or
  lost for ever. Nothing is said about how long it takes: the relay looks at everything again and again.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from docs.model.protocol import successors
from docs.model.world import Rules, World, broken, is_done, start


class TooLarge(RuntimeError):
    """There are more states than allowed."""


@dataclass(frozen=True, slots=True)
class Result:
    """Args: how many states there are, what is wrong (nothing when all is well), and the steps that lead there."""

    states: int
    problem: str
    trace: list[str]


def check(rules: Rules, *, most_states: int = 2_000_000) -> Result:
    """Explore every state.

    Raises:
        TooLarge: there are more than ``most_states``.
    """
    first = start(rules)
    came_from: dict[World, tuple[World, str] | None] = {first: None}
    without_fault: dict[World, list[World]] = {}  # a state → those from which it is one step without a fault
    finished = []
    waiting = deque([first])
    while waiting:
        world = waiting.popleft()
        problem = broken(world)
        if problem:
            return Result(len(came_from), problem, _trace(world, came_from))
        if is_done(world):
            finished.append(world)
        for name, is_fault, following in successors(world, rules):
            if following not in came_from:
                came_from[following] = (world, name)
                waiting.append(following)
            if not is_fault:
                without_fault.setdefault(following, []).append(world)
        if len(came_from) > most_states:
            raise TooLarge(f"more than {most_states} states; choose fewer messages, workers or faults")
    stuck = _not_leading_to(finished, came_from, without_fault)
    if stuck is not None:
        return Result(len(came_from), "no way leads to the end any more", _trace(stuck, came_from))
    return Result(len(came_from), "", [])


def _not_leading_to(
    finished: list[World], known: dict[World, tuple[World, str] | None], before: dict[World, list[World]]
) -> World | None:
    good = set(finished)
    waiting = deque(finished)
    while waiting:
        for world in before.get(waiting.popleft(), ()):
            if world not in good:
                good.add(world)
                waiting.append(world)
    return next((world for world in known if world not in good), None)  # known is in the order of distance


def _trace(world: World, came_from: dict[World, tuple[World, str] | None]) -> list[str]:
    steps = []
    link = came_from[world]
    while link is not None:
        world, name = link
        steps.append(name)
        link = came_from[world]
    return steps[::-1]
