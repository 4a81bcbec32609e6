"""The circuit breaker: its states, its one probe, and its record shared over Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from messaging.core.breaker import BreakerState, CircuitBreaker
from messaging.core.errors import CircuitOpen, ConfigurationError
from messaging.observing.probes import check_breakers
from messaging.testing.servers.nodes import RedisNode
from messaging.testing.servers.waiting import wait_until
from messaging.transport import breakers, redis_memory
from messaging.transport.breakers import get_breaker
from messaging.transport.redis_memory import SharedMemory


class Clock:
    """Time that the test moves."""

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


def fail(breaker: CircuitBreaker, times: int) -> None:
    for _ in range(times):
        breaker.allow()
        breaker.fail()


def test_it_opens_at_the_limit_and_says_when_to_ask_again(breaker: CircuitBreaker) -> None:
    fail(breaker, 3)
    assert breaker.state is BreakerState.OPEN
    assert breaker.refuses
    with pytest.raises(CircuitOpen, match="not called for 10 s") as caught:
        breaker.allow()
    assert caught.value.retry_after == pytest.approx(10.0)


def test_a_success_in_between_starts_the_count_again(breaker: CircuitBreaker) -> None:
    fail(breaker, 2)
    breaker.allow()
    breaker.succeed()
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED


def test_one_probe_passes_and_closes_it(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10.0
    assert not breaker.refuses
    breaker.allow()
    assert breaker.state is BreakerState.HALF_OPEN
    with pytest.raises(CircuitOpen):
        breaker.allow()
    breaker.succeed()
    breaker.allow()
    breaker.allow()


def test_a_probe_that_fails_opens_it_for_as_long_again(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10.0
    fail(breaker, 1)
    clock.now += 9.9
    with pytest.raises(CircuitOpen):
        breaker.allow()
    clock.now += 0.1
    breaker.allow()


def test_a_caller_that_died_in_its_probe_does_not_keep_it_open(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10.0
    breaker.allow()
    clock.now += 10.0
    breaker.allow()
    breaker.succeed()
    assert breaker.state is BreakerState.CLOSED


def test_a_cancelled_probe_gives_its_turn_to_the_next(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10.0
    breaker.allow()
    breaker.cancel()
    breaker.allow()


def test_of_many_threads_one_is_the_probe(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10.0
    passed: list[int] = []
    together = threading.Barrier(16)

    def call(number: int) -> None:
        together.wait(10)
        try:
            breaker.allow()
        except CircuitOpen:
            return
        passed.append(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(passed) == 1


@pytest.mark.parametrize(("failures", "reset_after"), [(0, 1.0), (1, 0.0), (1, -1.0)])
def test_numbers_that_make_no_breaker_are_refused(failures: int, reset_after: float) -> None:
    with pytest.raises(ConfigurationError, match="model"):
        CircuitBreaker("model", failures=failures, reset_after=reset_after)


@given(st.lists(st.tuples(st.sampled_from(["fail", "succeed", "cancel"]), st.floats(0.0, 20.0)), max_size=60))
def test_whatever_happens_it_lets_a_call_pass_within_the_reset_time(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    breaker = CircuitBreaker("model", failures=3, reset_after=10.0, clock=clock)
    for report, pause in steps:
        clock.now += pause
        if breaker.refuses:
            with pytest.raises(CircuitOpen) as refused:
                breaker.allow()
            assert 0 < (refused.value.retry_after or 0.0) <= 10.0
            continue
        breaker.allow()
        getattr(breaker, report)()
    clock.now += 10.0
    breaker.allow()


# --- shared ---


@pytest.fixture
def client(redis_node: RedisNode) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_node.url, socket_timeout=1, socket_connect_timeout=1)
    client.flushall()
    yield client
    client.close()


def test_processes_with_a_redis_share_it(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_memory, "REMEMBER", 0.0)
    one, two = (
        CircuitBreaker("model", failures=2, reset_after=0.2, memory=SharedMemory(client, "model")) for _ in range(2)
    )
    one.fail()
    two.fail()
    assert one.state is BreakerState.OPEN
    with pytest.raises(CircuitOpen):
        two.allow()
    wait_until(lambda: not two.refuses, 60, "the time until the probe")
    two.allow()
    with pytest.raises(CircuitOpen):
        one.allow()
    two.succeed()
    one.allow()


def test_failures_counted_at_once_are_all_counted(client: redis.Redis) -> None:
    memories = [SharedMemory(client, "model") for _ in range(4)]
    threads = [
        threading.Thread(target=CircuitBreaker("model", failures=99, memory=memory).fail)
        for memory in memories
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert SharedMemory(client, "model").read()[0].failures == 8


def test_without_redis_each_process_goes_on_by_itself() -> None:
    nobody = redis.Redis(port=1, socket_connect_timeout=0.2)
    breaker = CircuitBreaker("model", failures=2, reset_after=60.0, memory=SharedMemory(nobody, "model"))
    fail(breaker, 2)
    with pytest.raises(CircuitOpen):
        breaker.allow()


@pytest.fixture
def own_breakers() -> Iterator[None]:
    breakers.forget()
    yield
    breakers.forget()


@pytest.mark.usefixtures("own_breakers")
def test_health_names_what_is_open() -> None:
    assert check_breakers().ok
    fail(get_breaker("mail", failures=1), 1)
    finding = check_breakers()
    assert not finding.ok
    assert "mail" in finding.detail


@pytest.mark.usefixtures("own_breakers")
def test_health_sees_the_breakers_of_other_processes(client: redis.Redis, settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"
    CircuitBreaker("mail", failures=1, memory=SharedMemory(client, "mail")).fail()
    assert "mail" in check_breakers().detail
    assert get_breaker("mail", failures=1).refuses
