"""Defining sagas in Python."""

from __future__ import annotations

from typing import Any

from messaging.core.arguments import check_seconds, check_text
from messaging.core.errors import ConfigurationError, EnvelopeError
from messaging.core.names import check_agent_name, check_type_name
from messaging.transactions.plan import DEFAULT_TIMEOUT, OPERATORS, PlannedStep, SagaPlan, When

Target = tuple[str, str]
"""(participant, message type)"""

MAX_STEPS = 200


def step(
    name: str,
    *,
    do: Target,
    undo: Target | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    retries: int = 2,
    undo_retries: int = 5,
    retry_delay: float = 1.0,
    pivot: bool = False,
    when: tuple[str, str, Any] | None = None,
) -> PlannedStep:
    """A step, for ``Saga.parallel``. The arguments are those of ``Saga.step``."""
    condition = None if when is None else When(*when)
    planned = PlannedStep(
        name=name,
        do=do,
        undo=undo,
        timeout=timeout,
        retries=retries,
        undo_retries=undo_retries,
        retry_delay=retry_delay,
        pivot=pivot,
        when=condition,
    )
    _check(planned)
    return planned


def _check(planned: PlannedStep) -> None:
    name = planned.name
    try:
        check_text("name", name)
        check_seconds("timeout", planned.timeout)
        check_seconds("retry_delay", planned.retry_delay)
        for target in (planned.do, planned.undo):
            if target is not None:
                check_agent_name(target[0], "do" if target is planned.do else "undo")
                check_type_name(target[1])
        if any(len(target) != 2 for target in (planned.do, planned.undo) if target is not None):
            raise EnvelopeError("do", "expected two texts")
    except (EnvelopeError, IndexError, TypeError) as error:
        raise ConfigurationError(f"Step {name!r}: {error}. Write do=(participant, message type).") from None
    if len(name) > 100 or "." in name or name == "input":
        raise ConfigurationError(f"Step {name!r}: a name has at most 100 characters, no dot, and is not 'input'.")
    if planned.timeout <= 0 or not 0 <= planned.retries <= 1000 or not 0 <= planned.undo_retries <= 1000:
        raise ConfigurationError(f"Step {name!r}: expected a timeout above 0 s and 0 to 1000 retries.")
    if planned.when is not None and planned.when.comparison not in OPERATORS:
        raise ConfigurationError(
            f"Step {name!r}: when compares with {planned.when.comparison!r}; expected one of {', '.join(OPERATORS)}."
        )


class Saga:
    """Steps with one outcome: all are done, or what was done is undone, the last first.

        booking = (
            Saga("booking")
            .step("flight", do=("flights", "flight.book"), undo=("flights", "flight.cancel"))
            .step("payment", do=("payments", "payment.take"), undo=("payments", "payment.return"))
        )

    Its plan is stored with each run, so a changed definition is for new runs only; give it a new version then.

    Args:
        name: for people.
        version: of the definition.
    """

    def __init__(self, name: str, version: int = 1) -> None:
        check_text("name", name)
        self.name = name
        self.version = version
        self._stages: tuple[tuple[PlannedStep, ...], ...] = ()

    def step(
        self,
        name: str,
        *,
        do: Target,
        undo: Target | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = 2,
        undo_retries: int = 5,
        retry_delay: float = 1.0,
        pivot: bool = False,
        when: tuple[str, str, Any] | None = None,
    ) -> Saga:
        """Add a step behind the others; return a longer saga, this one stays as it is.

        Args:
            name: unique in the saga.
            do: (participant, message type) that does it.
            undo: (participant, message type) that undoes it; None where there is nothing to undo.
            timeout: seconds to wait for a reply, each time.
            retries: how often it is tried again when it times out or fails, before the saga compensates.
            undo_retries: how often its undo is tried again, before the saga is parked.
            retry_delay: seconds before the first of these; doubled each time, a minute at most.
            pivot: once it is done there is no way back: what comes behind it is tried again, and in the end parked.
            when: a condition such as ``("input.nights", ">", 0)``; the step is left out where it is not met.

        Raises:
            ConfigurationError: there cannot be such a step.
        """
        return self.parallel(
            step(
                name,
                do=do,
                undo=undo,
                timeout=timeout,
                retries=retries,
                undo_retries=undo_retries,
                retry_delay=retry_delay,
                pivot=pivot,
                when=when,
            )
        )

    def parallel(self, *steps: PlannedStep) -> Saga:
        """Add steps that run side by side (see ``step``); return a longer saga.

        Raises:
            ConfigurationError: two steps have one name, there is more than one pivot among them, or too many steps.
        """
        longer = Saga(self.name, self.version)
        longer._stages = (*self._stages, steps)
        names = [planned.name for stage in longer._stages for planned in stage]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not steps or len(names) > MAX_STEPS:
            raise ConfigurationError(
                f"Saga {self.name!r}: steps need names of their own (twice: {', '.join(twice) or 'none'}), and there "
                f"are 1 to {MAX_STEPS}."
            )
        if len(steps) > 1 and any(planned.pivot for planned in steps):
            raise ConfigurationError(f"Saga {self.name!r}: a pivot runs alone; its neighbours could still fail.")
        return longer

    @property
    def plan(self) -> SagaPlan:
        """What is stored with each run."""
        if not self._stages:
            raise ConfigurationError(f"Saga {self.name!r} has no steps.")
        return SagaPlan(name=self.name, version=self.version, stages=self._stages)
