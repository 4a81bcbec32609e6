"""The pytest plugin. It comes with the package (entry point ``nexus``); ``-p no:nexus`` leaves it out.

Nothing that tests send leaves the process, unless a test asks for it with the fixture ``nexus_publishing``.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator

import pytest

from messaging.transport import muting

_before = pytest.StashKey[bool | None]()


def pytest_configure(config: pytest.Config) -> None:
    """Publish nothing."""
    config.stash[_before] = muting.choose(False)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Whoever runs pytest inside a program gets back what was chosen there."""
    if _before in config.stash:
        muting.choose(config.stash[_before])


def pytest_runtest_setup() -> None:
    """Forget what the last test's rolled back database said. Costs nothing where Nexus is not in use."""
    if "messaging.directory.names" in sys.modules:
        from messaging.testing.handling import forget_remembered

        forget_remembered()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Give the process's agents back after each test: whoever casts one must not take the installation's own away.

    What a test adds stays: a module that registers agents is imported once.
    """
    core = sys.modules.get("messaging.core.registry")
    before = tuple(core.registry) if core is not None else ()
    try:
        return (yield)
    finally:
        if core is not None:
            core.registry.put_back(before)


@pytest.fixture
def nexus_publishing() -> Iterator[None]:
    """What the test commits goes to the configured broker, as in earnest. Ask for ``transactional_db`` too."""
    from messaging.testing.publication import publishing

    with publishing():
        yield
