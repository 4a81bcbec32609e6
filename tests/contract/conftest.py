"""Fixtures of the contract tests of sending, receiving and recovery."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from tests.support.database import committed_database
from tests.support.lab import Lab

__all__ = ["committed_database", "lab"]


@pytest.fixture
def lab(committed_database: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The system in one thread, on the run's database, with a broker in memory."""
    laboratory = Lab(settings, monkeypatch)
    yield laboratory
    laboratory.close()
