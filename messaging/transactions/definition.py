"""Defining sagas in Python."""

from __future__ import annotations

from typing import Any, get_args

from messaging.core.arguments import check_seconds, check_text
from messaging.core.errors import ConfigurationError, EnvelopeError
from messaging.core.names import check_agent_name, check_type_name
from messaging.transactions.nesting import SubSaga, side_by_side
from messaging.transactions.plan import (
    DEFAULT_TIMEOUT,
    OPERATORS,
    OnConflict,
    OnTimeout,
    PlannedStep,
    SagaPlan,
    StepKind,
    When,
)

Target = tuple[str, str]
"""(participant, message type)"""

Condition = tuple[str, str, Any]
"""(path, comparison, value)"""

MAX_STEPS = 200
MAX_NAME = 100
WEEK = 7 * 86_400.0


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
    when: Condition | None = None,
    locks: tuple[str, ...] = (),
    on_conflict: OnConflict = "refuse",
) -> PlannedStep:
    """A step, for ``Saga.parallel``. The arguments are those of ``Saga.step``."""
    planned = PlannedStep(
        name=name,
        do=do,
        undo=undo,
        timeout=timeout,
        retries=retries,
        undo_retries=undo_retries,
        retry_delay=retry_delay,
        pivot=pivot,
        when=_conditions(name, when),
        locks=locks,
        on_conflict=on_conflict,
    )
    _check(planned)
    return planned


def approval(
    name: str, *, timeout: float = WEEK, on_timeout: OnTimeout = "fail", when: Condition | None = None
) -> PlannedStep:
    """A person's decision, for ``Saga.parallel``. The arguments are those of ``Saga.approval``."""
    planned = PlannedStep(
        name=name, kind=StepKind.APPROVAL, timeout=timeout, on_timeout=on_timeout, when=_conditions(name, when)
    )
    _check(planned)
    return planned


def wait_for(
    name: str,
    *,
    signal: str = "",
    timeout: float = WEEK,
    on_timeout: OnTimeout = "fail",
    when: Condition | None = None,
) -> PlannedStep:
    """A wait for a signal, for ``Saga.parallel``. The arguments are those of ``Saga.wait_for``."""
    planned = PlannedStep(
        name=name,
        kind=StepKind.SIGNAL,
        signal=signal or name,
        timeout=timeout,
        on_timeout=on_timeout,
        when=_conditions(name, when),
    )
    _check(planned)
    return planned


def sub_saga(name: str, saga: Saga, *, input: str = "input", when: Condition | None = None) -> SubSaga:
    """A saga as a step, for ``Saga.parallel``. The arguments are those of ``Saga.saga``."""
    _check(PlannedStep(name=name, kind=StepKind.POINT))
    return SubSaga(name, saga.plan.stages, input, _conditions(name, when))


def _conditions(name: str, when: Condition | None) -> tuple[When, ...]:
    if when is None:
        return ()
    given: Any = when
    if not isinstance(given, tuple | list) or len(given) != 3:
        raise ConfigurationError(f"Step {name!r}: write when=(path, comparison, value).")
    if when[1] not in OPERATORS:
        raise ConfigurationError(
            f"Step {name!r}: when compares with {when[1]!r}; expected one of {', '.join(OPERATORS)}."
        )
    return (When(*when),)


def _check(planned: PlannedStep) -> None:
    name = planned.name
    try:
        if planned.kind is StepKind.CALL and planned.do is None:
            raise EnvelopeError("do", "missing")
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
    if len(name) > MAX_NAME or set(name) & set("./{}") or name == "input":
        raise ConfigurationError(
            f"Step {name!r}: a name has at most {MAX_NAME} characters, none of . / {{ }}, and is not 'input'."
        )
    if planned.timeout <= 0 or not 0 <= planned.retries <= 1000 or not 0 <= planned.undo_retries <= 1000:
        raise ConfigurationError(f"Step {name!r}: expected a timeout above 0 s and 0 to 1000 retries.")
    if planned.on_timeout not in get_args(OnTimeout) or planned.on_conflict not in get_args(OnConflict):
        raise ConfigurationError(
            f"Step {name!r}: on_timeout is one of {', '.join(get_args(OnTimeout))}, on_conflict one of "
            f"{', '.join(get_args(OnConflict))}."
        )
    locks: Any = planned.locks
    if not isinstance(locks, tuple) or not all(isinstance(lock, str) and lock for lock in locks):
        raise ConfigurationError(f"Step {name!r}: write locks=('seat:{{input.seat}}',), names in a tuple.")


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
        when: Condition | None = None,
        locks: tuple[str, ...] = (),
        on_conflict: OnConflict = "refuse",
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
            locks: what the saga has for itself from this step until it ended or is undone, such as
                ``("seat:{input.seat}",)``; others ask ``locks.is_locked``.
            on_conflict: when another saga has it: refuse (the step fails), or wait for ``timeout`` at most.

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
                locks=locks,
                on_conflict=on_conflict,
            )
        )

    def approval(
        self, name: str, *, timeout: float = WEEK, on_timeout: OnTimeout = "fail", when: Condition | None = None
    ) -> Saga:
        """Add a step that a person approves or denies; its result is ``{"by": …, "reason": …}``.

        Args:
            name: unique in the saga.
            timeout: seconds that the person has.
            on_timeout: then: fail (as if denied: the saga compensates), go_on, or park.
            when: see ``step``.
        """
        return self.parallel(approval(name, timeout=timeout, on_timeout=on_timeout, when=when))

    def wait_for(
        self,
        name: str,
        *,
        signal: str = "",
        timeout: float = WEEK,
        on_timeout: OnTimeout = "fail",
        when: Condition | None = None,
    ) -> Saga:
        """Add a step that is done when a signal comes (``Sagas.signal``), or has come before; its result is its data.

        Args:
            name: unique in the saga.
            signal: name of the signal; that of the step if empty.
            timeout, on_timeout, when: see ``approval``.
        """
        return self.parallel(wait_for(name, signal=signal, timeout=timeout, on_timeout=on_timeout, when=when))

    def saga(self, name: str, saga: Saga, *, input: str = "input", when: Condition | None = None) -> Saga:
        """Add a saga as a step: its steps get names such as ``hotel/book`` and are undone with the others.

        Args:
            name: unique in this saga.
            saga: what is done; a copy of its steps as they are now.
            input: where its input is in this one: ``"input"``, ``"input.hotel"`` or a step's result, ``"flight"``.
            when: see ``step``.
        """
        return self.parallel(sub_saga(name, saga, input=input, when=when))

    def point_of_no_return(self, name: str) -> Saga:
        """Add a pivot at which nothing is called: what stands before it is not undone any more."""
        return self.parallel(PlannedStep(name=name, kind=StepKind.POINT, pivot=True))

    def parallel(self, *steps: PlannedStep | SubSaga) -> Saga:
        """Add steps that run side by side (see ``step``); return a longer saga.

        Sub-sagas side by side go in step: none begins its second stage before all have ended their first.

        Raises:
            ConfigurationError: two steps have one name, there is more than one pivot among them, or too many steps.
        """
        longer = Saga(self.name, self.version)
        longer._stages = (*self._stages, *side_by_side(steps))
        names = [planned.name for stage in longer._stages for planned in stage]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not steps or len(names) > MAX_STEPS:
            raise ConfigurationError(
                f"Saga {self.name!r}: steps need names of their own (twice: {', '.join(twice) or 'none'}), and there "
                f"are 1 to {MAX_STEPS}."
            )
        if any(len(stage) > 1 and any(planned.pivot for planned in stage) for stage in longer._stages):
            raise ConfigurationError(f"Saga {self.name!r}: a pivot runs alone; its neighbours could still fail.")
        long = next((name for name in names if len(name) > MAX_NAME), "")
        if long:
            raise ConfigurationError(f"Saga {self.name!r}: the step {long!r} has more than {MAX_NAME} characters.")
        return longer

    @property
    def plan(self) -> SagaPlan:
        """What is stored with each run."""
        if not self._stages:
            raise ConfigurationError(f"Saga {self.name!r} has no steps.")
        return SagaPlan(name=self.name, version=self.version, stages=self._stages)
