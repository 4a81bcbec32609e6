"""Tries every interleaving of a protocol, and reports the shortest way into trouble.

Two questions are asked:

- Is there a state, reachable by any steps and faults, in which something is wrong (``broken``)?
- Is there a state from which no steps without further faults lead to the end (``is_done``)? Then something is stuck or
  lost for ever. Nothing is said about how long it takes: the relay looks at everything again and again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from docs.model.protocol import successors
from docs.model.signing import SigningRules, first_signing, signing_is_broken, signing_is_done, signing_steps
from docs.model.two_phase import TwoPhaseRules, first_run, run_is_broken, run_is_done, two_phase_steps
from docs.model.world import Rules, broken, is_done, start

State = TypeVar("State", bound=Hashable)


class TooLarge(RuntimeError):
    """There are more states than allowed."""


@dataclass(frozen=True, slots=True)
class Result:
    """Args: how many states there are, what is wrong (nothing when all is well), and the steps that lead there."""

    states: int
    problem: str
    trace: list[str]


def check(rules: Rules, *, most_states: int = 2_000_000) -> Result:
    """Explore every state of the protocol of a mailbox.

    Raises:
        TooLarge: there are more than ``most_states``.
    """
    return explore(
        start(rules), lambda world: successors(world, rules), broken=broken, is_done=is_done, most_states=most_states
    )


def check_two_phase(rules: TwoPhaseRules, *, most_states: int = 2_000_000) -> Result:
    """Explore every state of a two-phase commit.

    Raises:
        TooLarge: there are more than ``most_states``.
    """
    return explore(
        first_run(rules),
        lambda run: two_phase_steps(run, rules),
        broken=run_is_broken,
        is_done=run_is_done,
        most_states=most_states,
    )


def check_signing(rules: SigningRules, *, most_states: int = 2_000_000) -> Result:
    """Explore every state of a stricter signing mode and a revocation.

    Raises:
        TooLarge: there are more than ``most_states``.
    """
    return explore(
        first_signing(rules),
        lambda world: signing_steps(world, rules),
        broken=signing_is_broken,
        is_done=signing_is_done,
        most_states=most_states,
    )


def explore(
    first: State,
    follow: Callable[[State], Iterable[tuple[str, bool, State]]],
    *,
    broken: Callable[[State], str],
    is_done: Callable[[State], bool],
    most_states: int,
) -> Result:
    """Explore every state that can be reached.

    Args:
        first: where it begins.
        follow: (name of the step, whether it is a fault, next state) of every step that can follow.
        broken: what is wrong in a state, or nothing.
        is_done: whether it is the end.
        most_states: how many there may be.

    Raises:
        TooLarge: there are more.
    """
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    without_fault: dict[State, list[State]] = {}  # a state → those from which it is one step without a fault
    finished = []
    waiting = deque([first])
    while waiting:
        world = waiting.popleft()
        problem = broken(world)
        if problem:
            return Result(len(came_from), problem, _trace(world, came_from))
        if is_done(world):
            finished.append(world)
        for name, is_fault, following in follow(world):
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
    finished: list[State], known: dict[State, tuple[State, str] | None], before: dict[State, list[State]]
) -> State | None:
    good = set(finished)
    waiting = deque(finished)
    while waiting:
        for world in before.get(waiting.popleft(), ()):
            if world not in good:
                good.add(world)
                waiting.append(world)
    return next((world for world in known if world not in good), None)  # known is in the order of distance


def _trace(world: State, came_from: dict[State, tuple[State, str] | None]) -> list[str]:
    steps = []
    link = came_from[world]
    while link is not None:
        world, name = link
        steps.append(name)
        link = came_from[world]
    return steps[::-1]
