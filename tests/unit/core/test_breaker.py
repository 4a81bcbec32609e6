"""The circuit breaker, with a clock that the test moves."""

from __future__ import annotations

import threading

import pytest

from messaging.core.breaker import BreakerState, CircuitBreaker
from messaging.core.errors import CircuitOpen, ConfigurationError


class Clock:
    """Seconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("model", failures=3, reset_after=10.0, clock=clock)


def trip(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        breaker.allow()
        breaker.fail()


def state_of(breaker: CircuitBreaker) -> BreakerState:
    """Its state; mypy would hold a property for unchanging."""
    return breaker.state


def is_open(breaker: CircuitBreaker) -> bool:
    try:
        breaker.allow()
    except CircuitOpen:
        return True
    return False


def test_it_opens_at_the_limit_of_failures_in_a_row_and_not_before(breaker: CircuitBreaker) -> None:
    for _ in range(10):
        breaker.allow()
        breaker.fail()
        breaker.allow()
        breaker.fail()
        breaker.allow()
        breaker.succeed()
    assert state_of(breaker) is BreakerState.CLOSED
    trip(breaker)
    assert state_of(breaker) is BreakerState.OPEN
    assert is_open(breaker)


def test_it_says_when_to_ask_again(breaker: CircuitBreaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += 4.0
    with pytest.raises(CircuitOpen) as caught:
        breaker.allow()
    assert caught.value.retry_after == 6.0


def test_one_probe_passes_and_its_success_closes(breaker: CircuitBreaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += 10.0
    breaker.allow()
    assert state_of(breaker) is BreakerState.HALF_OPEN
    assert is_open(breaker), "one probe at a time"
    breaker.succeed()
    assert state_of(breaker) is BreakerState.CLOSED
    breaker.allow()
    breaker.fail()
    assert state_of(breaker) is BreakerState.CLOSED, "old failures are forgotten"


def test_a_probe_that_fails_opens_it_for_the_whole_time_again(breaker: CircuitBreaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += 10.0
    breaker.allow()
    clock.now += 3.0
    breaker.fail()
    assert state_of(breaker) is BreakerState.OPEN
    clock.now += 9.9
    assert is_open(breaker)
    clock.now += 0.2
    breaker.allow()


def test_a_probe_that_never_reports_does_not_keep_it_shut_for_ever(breaker: CircuitBreaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += 10.0
    breaker.allow()
    clock.now += 9.9
    assert is_open(breaker)
    clock.now += 0.2
    breaker.allow()
    breaker.succeed()
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_probe_that_was_cancelled_lets_the_next_one_pass_at_once(breaker: CircuitBreaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += 10.0
    breaker.allow()
    breaker.cancel()
    assert state_of(breaker) is BreakerState.OPEN
    breaker.allow()


def test_cancelling_says_nothing_while_it_is_closed(breaker: CircuitBreaker) -> None:
    breaker.allow()
    breaker.fail()
    breaker.cancel()
    breaker.allow()
    breaker.fail()
    breaker.allow()
    breaker.fail()
    assert state_of(breaker) is BreakerState.OPEN


def test_late_failures_of_calls_from_before_do_not_prolong_it(breaker: CircuitBreaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += 5.0
    breaker.fail()
    clock.now += 5.0
    breaker.allow()


def test_of_many_threads_one_gets_the_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    trip(breaker)
    clock.now += 10.0
    passed: list[int] = []
    barrier = threading.Barrier(16)

    def ask(number: int) -> None:
        barrier.wait(10)
        if not is_open(breaker):
            passed.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(passed) == 1


@pytest.mark.parametrize("settings", [{"failures": 0}, {"reset_after": 0.0}, {"reset_after": float("nan")}])
def test_numbers_that_make_no_breaker(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="model"):
        CircuitBreaker("model", **settings)  # type: ignore[arg-type]
