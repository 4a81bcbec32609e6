"""Fixtures of the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from tests.support.lab import Lab


@pytest.fixture
def lab(
    transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch, database_vendor: str
) -> Iterator[Lab]:
    """The system in one thread, on the run's database with users and all, with a broker in memory."""
    if database_vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")  # nobody cuts the power here
    laboratory = Lab(settings, monkeypatch)
    yield laboratory
    laboratory.close()
