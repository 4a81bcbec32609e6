"""The retry policy."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.core.backoff import RetryPolicy
from messaging.core.errors import ConfigurationError

POLICY = RetryPolicy(max_attempts=5, base=0.5, cap=30.0)


def test_ceiling_doubles_up_to_the_cap() -> None:
    assert [POLICY.ceiling(attempt) for attempt in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_multiplier_may_be_another() -> None:
    policy = RetryPolicy(max_attempts=5, base=1, cap=100, multiplier=3)
    assert [policy.ceiling(attempt) for attempt in range(1, 7)] == [1, 3, 9, 27, 81, 100]


@given(st.integers(1, 10**9), st.integers())
def test_delay_is_between_zero_and_the_ceiling(attempt: int, seed: int) -> None:
    assert 0 <= POLICY.delay(attempt, Random(seed)) <= POLICY.ceiling(attempt) <= POLICY.cap


def test_jitter_uses_the_whole_range_evenly() -> None:
    random = Random(1)
    delays = [POLICY.delay(5, random) for _ in range(4000)]
    assert min(delays) < 0.05
    assert max(delays) > 7.95
    assert sum(delays) / len(delays) == pytest.approx(4.0, rel=0.05)


def test_same_random_gives_the_same_delay() -> None:
    assert POLICY.delay(3, Random(7)) == POLICY.delay(3, Random(7))


@pytest.mark.parametrize("attempt", [0, -1])
def test_attempts_are_counted_from_one(attempt: int) -> None:
    with pytest.raises(ValueError, match="counted from 1"):
        POLICY.delay(attempt, Random(1))


def test_exhausted_by_attempts() -> None:
    assert [POLICY.exhausted(attempts, age=1e9) for attempts in (0, 4, 5, 6)] == [False, False, True, True]


def test_exhausted_by_age() -> None:
    policy = RetryPolicy(max_attempts=5, base=1, cap=60, deadline=3600)
    assert [policy.exhausted(1, age) for age in (0, 3599.9, 3600, 1e9)] == [False, False, True, True]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"base": 0},
        {"base": -1},
        {"base": 61},
        {"base": math.nan},
        {"cap": math.inf},
        {"cap": math.nan},
        {"multiplier": 0.5},
        {"multiplier": math.nan},
        {"deadline": 0},
        {"deadline": math.nan},
    ],
)
def test_impossible_policies_are_refused_and_the_number_named(wrong: dict[str, Any]) -> None:
    values: dict[str, Any] = {"max_attempts": 5, "base": 1, "cap": 60}
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        RetryPolicy(**(values | wrong))
