"""The examples in the docstrings of the core are true."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

from messaging import core

MODULES = [module.name for module in pkgutil.iter_modules(core.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name: str) -> None:
    assert doctest.testmod(import_module(f"messaging.core.{name}")).failed == 0


@pytest.mark.parametrize("name", ["envelope", "strict_json", "ids", "backoff"])
def test_examples_are_there(name: str) -> None:
    assert doctest.testmod(import_module(f"messaging.core.{name}")).attempted > 0
