"""Fixtures of the tests of durable chats."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from tests.support.lab import Lab


@pytest.fixture
def lab(transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The system in one thread, on the run's database, with a broker in memory."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")  # nobody cuts the power here
    laboratory = Lab(settings, monkeypatch)
    yield laboratory
    laboratory.close()
