"""A saga's plan as it is stored with each run: plain data, without code."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Literal

import msgspec

DEFAULT_TIMEOUT = 300.0

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda value, choices: value in choices,
}


MISSING = object()
MAX_RESOURCE = 200
_PLACE = re.compile(r"\{([^{}]*)\}")

OnTimeout = Literal["fail", "go_on", "park"]
OnConflict = Literal["refuse", "wait"]


def look_up(path: str, input: Any, results: Mapping[str, Any]) -> Any:
    """The value at a path such as ``"input.nights"`` or ``"flight.class"``; MISSING where there is none."""
    found: Any = {"input": input, **results}
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return MISSING
        found = found[name]
    return found


def rewrite_places(template: str, change: Callable[[str], str]) -> str:
    """Change the paths in a lock's name such as ``"seat:{input.seat}"``."""
    return _PLACE.sub(lambda place: f"{{{change(place[1])}}}", template)


class StepKind(StrEnum):
    """What a step is."""

    CALL = "call"  # to a participant
    APPROVAL = "approval"  # a person decides
    SIGNAL = "signal"  # something outside says that it happened
    POINT = "point"  # nothing is done; a pivot without a call


class When(msgspec.Struct, frozen=True):
    """A condition on the saga's input (``"input.nights"``) or a step's result (``"flight.class"``).

    Args:
        path: where the value is.
        comparison: one of ==, !=, <, <=, >, >=, in.
        value: what it is compared with. A value that is missing, or of another type, meets no condition but ``!=``.
    """

    path: str
    comparison: str
    value: Any

    def holds(self, input: Any, results: Mapping[str, Any]) -> bool:
        """Whether it is met."""
        found = look_up(self.path, input, results)
        if found is MISSING:
            return self.comparison == "!="
        try:
            return bool(OPERATORS[self.comparison](found, self.value))
        except TypeError:
            return False


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of a plan. See ``Saga.step``, ``Saga.approval`` and ``Saga.wait_for``.

    Args:
        scope: in front of the names of the steps that it sees, where it is part of a sub-saga.
        takes: where its input is.
        when: conditions; each must be met.
    """

    name: str
    kind: StepKind = StepKind.CALL
    do: tuple[str, str] | None = None
    undo: tuple[str, str] | None = None
    timeout: float = DEFAULT_TIMEOUT
    retries: int = 2
    undo_retries: int = 5
    retry_delay: float = 1.0
    pivot: bool = False
    when: tuple[When, ...] = ()
    signal: str = ""
    on_timeout: OnTimeout = "fail"
    locks: tuple[str, ...] = ()
    on_conflict: OnConflict = "refuse"
    scope: str = ""
    takes: str = "input"

    def resource(self, template: str, input: Any, results: Mapping[str, Any]) -> str:
        """The name of what it locks.

        Raises:
            ValueError: a value for it is missing, or it is too long.
        """

        def fill(place: re.Match[str]) -> str:
            found = look_up(place[1], input, results)
            if found is MISSING or isinstance(found, dict | list) or found is None:
                raise ValueError(f"the lock {template!r} needs a text or a number at {place[1]}")
            return str(found)

        name = _PLACE.sub(fill, template)
        if len(name) > MAX_RESOURCE:
            raise ValueError(f"the lock {template!r} has {len(name)} characters; {MAX_RESOURCE} at most")
        return name

    def delay(self, tries: int) -> float:
        """Seconds before the next try."""
        return float(min(60.0, self.retry_delay * 2 ** min(tries - 1, 10)))


class SagaPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Stages one after another; the steps of a stage run side by side."""

    name: str
    version: int
    stages: tuple[tuple[PlannedStep, ...], ...]

    @property
    def steps(self) -> dict[str, PlannedStep]:
        """All steps by name, in order."""
        return {step.name: step for stage in self.stages for step in stage}

    @property
    def locks(self) -> bool:
        """Whether any step locks something."""
        return any(step.locks for stage in self.stages for step in stage)

    @property
    def participants(self) -> set[str]:
        """The agents that it calls."""
        steps = self.steps.values()
        return {target[0] for step in steps for target in (step.do, step.undo) if target is not None}
