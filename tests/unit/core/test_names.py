"""Names of agents, groups and message types."""

from __future__ import annotations

import pytest

from messaging.core.errors import EnvelopeError
from messaging.core.names import check_agent_name, check_type_name


@pytest.mark.parametrize("name", ["a", "0", "planner", "team.writer-2_b", "a" * 100])
def test_agent_names_are_taken(name: str) -> None:
    check_agent_name(name)


@pytest.mark.parametrize("name", ["", "A", ".a", "-a", "_a", "a b", "a/b", "a\n", "a\x00", "ä", "a٣", "a" * 101])
def test_other_agent_names_are_refused(name: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        check_agent_name(name, "source")
    assert caught.value.attribute == "source"
    assert repr(name) in caught.value.problem


@pytest.mark.parametrize("name", ["a", "Draft", "org.example.draft/v1.wanted_2-b", "A" * 200])
def test_type_names_are_taken(name: str) -> None:
    check_type_name(name)


@pytest.mark.parametrize("name", ["", "/a", ".a", "a b", "a\n", "a\x00", "a:b", "ä", "a" * 201])
def test_other_type_names_are_refused(name: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        check_type_name(name)
    assert caught.value.attribute == "type"


def test_error_shows_a_long_name_shortened() -> None:
    with pytest.raises(EnvelopeError) as caught:
        check_agent_name("x" * 100_000)
    assert len(str(caught.value)) < 300
