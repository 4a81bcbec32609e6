"""The examples in the docstrings of chats hold."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = ["functions", "messages", "schema", "speakers", "termination", "transcript"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(import_module(f"agents.chat.rules.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
