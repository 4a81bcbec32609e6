"""The capacity model finds the curve that figures were made from."""

from __future__ import annotations

import random

import pytest

from bench.capacity import FITTED, Curve, fit, needs


@pytest.mark.parametrize("made", [Curve(1_000, 0.1, 0.0005), Curve(300, 0.02, 0.0), Curve(50, 0.0, 0.0)])
def test_exact_figures_give_their_curve(made: Curve) -> None:
    found = fit({count: made.rate(count) for count in FITTED})
    assert found == pytest.approx(made, rel=1e-6, abs=1e-9)


def test_figures_with_noise_foresee_twice_as_many() -> None:
    made, noise = Curve(1_000, 0.1, 0.0002), random.Random(5)
    found = fit({count: made.rate(count) * noise.uniform(0.95, 1.05) for count in FITTED})
    assert found.rate(128) == pytest.approx(made.rate(128), rel=0.15)


def test_no_coefficient_is_below_nothing() -> None:
    found = fit({1: 100.0, 2: 210.0, 4: 450.0})  # better than in step
    assert min(found) >= 0


def test_two_figures_are_no_curve() -> None:
    with pytest.raises(ValueError, match="three"):
        fit({1: 1.0, 2: 2.0})


def test_what_a_day_needs() -> None:
    summary = {"µs": {"workers": 140.0}, "bytes": {"write-ahead log": 1_000, "tables and indexes": 2_000}}
    plan = needs(summary, 864e6, 2.0)
    assert plan == {
        "messages/s": 20_000.0,
        "processors, workers": 4.0,
        "write-ahead log MB/s": 20.0,
        "log TB/day": 1.73,
    }
