"""A plugin of pytest for the run that maps tests to lines: leaves out what needs a server, and writes durations.

`pytest -p tests.mutation.durations` with MUTATION_DURATIONS=FILE writes {id of a test that passed: seconds} as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

SERVERS = frozenset({"rabbitmq_session", "postgres_session", "redis_session"})  # a mutant cannot wait for their start

_seconds: dict[str, float] = {}
_not_passed: set[str] = set()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests with servers of their own."""
    left_out = [item for item in items if not SERVERS.isdisjoint(getattr(item, "fixturenames", ()))]
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up set-up, call and teardown."""
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0.0) + report.duration
    if report.outcome != "passed":
        _not_passed.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what passed; with xdist only the controller does."""
    if not hasattr(session.config, "workerinput"):
        passed = {test: round(seconds, 3) for test, seconds in _seconds.items() if test not in _not_passed}
        Path(os.environ["MUTATION_DURATIONS"]).write_text(json.dumps(passed, indent=1))
