"""A site with web, worker and relay, and a browser, for all walks together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from messaging.testing.servers.waiting import wait_until
from tests.support.browser import chromium
from tests.support.browser_site import CHATS, ORDERS
from tests.support.installation import Installation, process_environment, run_program

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FAILING = ORDERS // 3


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for the package."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="package")
def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an installation in embedded mode, with people, dead letters and approvals."""
    folder = tmp_path_factory.mktemp("site")
    variables = process_environment(folder)
    variables["DATABASE_URL"] = f"sqlite:///{folder / 'nexus.sqlite3'}"
    run_program(["-m", "tests.support.race", "prepare"], variables, timeout=120)
    options = {"agents": "tests.support.browser_agents", "edit_and_replay": "on", "relay_interval": 0.2}
    with Installation(folder, variables, **options) as installation:
        address = installation.web()
        installation.worker(concurrency=1)
        installation.relay()
        run_program(["-m", "tests.support.browser_site"], installation.environment, timeout=60)

        def ready() -> bool:
            (letters,) = installation.query("SELECT count(*) FROM nexus_dead_letter")
            (asked,) = installation.query("SELECT count(*) FROM nexus_approval")
            return (letters[0], asked[0]) == (FAILING, CHATS)

        wait_until(ready, 60, lambda: f"dead letters and approvals; {installation.logs()}", interval=0.2)
        yield address
