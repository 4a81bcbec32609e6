"""A saga's plan as it is stored with each run: plain data, without code."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

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
        found: Any = {"input": input, **results}
        for name in self.path.split("."):
            if not isinstance(found, Mapping) or name not in found:
                return self.comparison == "!="
            found = found[name]
        try:
            return bool(OPERATORS[self.comparison](found, self.value))
        except TypeError:
            return False


class PlannedStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a plan. See ``Saga.step``."""

    name: str
    do: tuple[str, str]
    undo: tuple[str, str] | None = None
    timeout: float = DEFAULT_TIMEOUT
    retries: int = 2
    undo_retries: int = 5
    retry_delay: float = 1.0
    pivot: bool = False
    when: When | None = None

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
