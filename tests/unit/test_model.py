"""The model of the protocol holds at a small size, and its checker finds every bug that is planted in it."""

from __future__ import annotations

import pytest

from docs.model.__main__ import SIGNING_SIZES, SIZES, SMALL, TWO_PHASE_SIZES
from docs.model.checker import TooLarge, check, check_signing, check_two_phase
from docs.model.signing import SIGNING_BUGS, signing_with
from docs.model.two_phase import TWO_PHASE_BUGS, TwoPhaseRules
from docs.model.world import BUGS, Rules, planted


def whole(size: str) -> tuple[pytest.MarkDecorator, ...]:
    """Seconds each; without skipping, the same sizes are short."""
    return (pytest.mark.whole,) if size.endswith(", skip") else ()


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(size, marks=whole(size)) for size in list(SIZES)[:SMALL]])
def test_the_protocol_holds(size: str) -> None:
    result = check(SIZES[size])
    assert not result.problem, "\n".join(result.trace)
    assert result.states > 5_000, "too few to say anything"


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug: str) -> None:
    result = check(planted(bug))
    assert result.problem
    assert result.trace


def test_a_size_that_is_too_large_is_refused() -> None:
    with pytest.raises(TooLarge):
        check(Rules(), most_states=100)


def test_two_phase_commit_holds() -> None:
    result = check_two_phase(TWO_PHASE_SIZES["two-phase commit"])
    assert not result.problem, "\n".join(result.trace)
    assert result.states > 1_000, "too few to say anything"


@pytest.mark.parametrize("bug", TWO_PHASE_BUGS)
def test_a_bug_planted_in_two_phase_commit_is_found(bug: str) -> None:
    result = check_two_phase(TwoPhaseRules(bugs=frozenset({bug})))
    assert result.problem
    assert result.trace


@pytest.mark.parametrize("size", list(SIGNING_SIZES)[:2])
def test_a_stricter_mode_and_a_revocation_hold(size: str) -> None:
    result = check_signing(SIGNING_SIZES[size])
    assert not result.problem, "\n".join(result.trace)
    assert result.states > 1_000, "too few to say anything"


@pytest.mark.parametrize("bug", SIGNING_BUGS)
def test_a_bug_planted_in_the_signatures_is_found(bug: str) -> None:
    result = check_signing(signing_with(bug))
    assert result.problem
    assert result.trace
