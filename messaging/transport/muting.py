"""Whether this process may publish by itself.

A process that runs tests may not: its messages would reach the broker that happens to be configured, and the
publisher's thread would hold a session of the test database. Its messages stay PENDING in a database that is thrown
away. A test that wants them published says so (``messaging.testing.publishing``).
"""

from __future__ import annotations

import sys

_choice: bool | None = None


def choose(allowed: bool | None) -> bool | None:
    """Allow or forbid publishing by itself; None leaves it to ``may_publish``. Return what was chosen before."""
    global _choice
    before, _choice = _choice, allowed
    return before


def may_publish() -> bool:
    """Whether the background publisher may take what was sent: as chosen, otherwise unless Django runs tests."""
    return not _django_runs_tests() if _choice is None else _choice


def _django_runs_tests() -> bool:
    """Whether ``django.test.utils.setup_test_environment`` is in force: Django's test runner and pytest-django call it.

    Production code does not even import that module.
    """
    utils = sys.modules.get("django.test.utils")
    return hasattr(getattr(utils, "_TestState", None), "saved_data")
