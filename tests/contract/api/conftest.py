"""What the tests of the HTTP API share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from pytest_django.fixtures import Settings

from tests.support.api import ApiCaller
from tests.support.operators import make_auditor


@pytest.fixture(autouse=True)
def auditor(db: None, settings: Settings) -> Iterator[None]:
    """An agent that programs can send to, and an empty count of requests."""
    make_auditor(settings)
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def program(auditor: None) -> ApiCaller:
    """A token that may do everything."""
    return ApiCaller()
