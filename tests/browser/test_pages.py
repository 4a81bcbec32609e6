"""Pages as people see them: readable for everybody, light and dark, wide and narrow; and pictures for docs/img."""

from __future__ import annotations

import io
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from messaging.testing.servers.waiting import wait_until
from tests.support.browser import PHONE, WIDE, WatchedPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The time is that with the site, on a machine that does much else.
pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(400)]

MAIN = {
    "dashboard": "/admin/",
    "workflow": "/admin/nexus/workflow/?status__exact=parked",
    "dead-letter": "/admin/nexus/deadletter/",
    "causes": "/admin/nexus/deadletter/groups/",
    "approval": "/admin/nexus_agents/approval/",
    "agents": "/admin/nexus/agent/?",
}
"""Name → page; of a list's table, its first row's page."""
ONLY_PICTURED = {"tables": "/admin/#nexus-waits-for-people"}
OF_AXE = ("Applying inline style",)
"""It measures with styles of its own, which the policy refuses."""
OF_A_ROW = ("workflow", "dead-letter", "approval")
WHOLE = os.environ.get("BROWSER_WHOLE") == "1"
"""Whether every page is looked at (four minutes on a quiet machine)."""
PICTURES = os.environ.get("PICTURES", "")
"""Folder to write pictures to."""
MAX_BYTES = 150_000
PICTURED = {
    WIDE: ("dashboard", "tables", "workflow", "causes"),
    PHONE: ("dashboard", "tables", "workflow", "approval"),
}
"""Wide ones are light, narrow ones dark."""


def open_page(watched: WatchedPage, name: str) -> None:
    """Go to one of ``MAIN``, or of those that are only pictured."""
    watched.page.goto((MAIN | ONLY_PICTURED)[name])
    if name in OF_A_ROW:
        watched.page.locator("#result_list tbody th a").first.click()
        watched.page.wait_for_url("**/change/**")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_main_pages_have_no_serious_findings(browser: Browser, site: str, dark: bool) -> None:
    with WatchedPage(browser, site, size=PHONE if dark else WIDE, dark=dark, allowed=OF_AXE) as watched:
        watched.log_in("root")
        found = {}
        for name in MAIN:
            open_page(watched, name)
            found[name] = watched.axe()
            width = watched.page.evaluate("document.documentElement.scrollWidth")
            assert width <= watched.page.evaluate("window.innerWidth"), f"{name} sticks out: {width}"
        assert not any(found.values()), "\n".join(f"{name}: {one}" for name, ones in found.items() for one in ones)


def test_on_a_tablet_actions_stay_beside_the_filter(browser: Browser, site: str) -> None:
    with WatchedPage(browser, site, size=(900, 800)) as watched:
        watched.log_in("root")
        watched.page.goto(MAIN["dead-letter"])
        actions = watched.page.locator("#changelist .actions select").bounding_box()
        beside = watched.page.locator("#changelist-filter").bounding_box()
        assert actions is not None
        assert beside is not None
        assert actions["x"] + actions["width"] <= beside["x"]
        if PICTURES:
            watched.page.screenshot(path=Path(PICTURES) / "tablet.png")


@pytest.mark.skipif(not WHOLE, reason="every page: BROWSER_WHOLE=1")
@pytest.mark.timeout(900)
def test_every_page_has_no_serious_findings(browser: Browser, site: str) -> None:
    with WatchedPage(browser, site, allowed=OF_AXE) as watched:
        page = watched.log_in("root")
        links = page.locator("#content-main th a, .nexus-tiles a")
        left = [str(link.get_attribute("href")) for link in links.all()]
        seen: set[str] = set()
        found: list[str] = []
        while left:
            url = left.pop()
            if url in seen:
                continue
            seen.add(url)
            page.goto(url)
            found += [f"{url}: {one}" for one in watched.refused() + watched.axe()]
            rows = page.locator("#result_list tbody th a, .object-tools a, #changelist-filter a")
            more = [row.evaluate("link => link.pathname + link.search") for row in rows.all()[:3]]
            left += [one for one in more if one.startswith("/admin/") and "/export/" not in one]
        assert len(seen) > 60
        assert not found, "\n".join(found)


def counted(watched: WatchedPage) -> bool:
    """Whether the dashboard's charts have something to show: the relay counts a minute once it is over."""
    watched.page.goto(MAIN["dashboard"])
    return watched.page.locator("#nexus-not-counted").count() == 0


@pytest.mark.skipif(not PICTURES, reason="pictures of the pages: PICTURES=docs/img")
@pytest.mark.timeout(400)
def test_pictures(browser: Browser, site: str) -> None:
    from PIL import Image

    for size, names in PICTURED.items():
        with WatchedPage(browser, site, size=size, dark=size == PHONE) as watched:
            watched.log_in("root")
            wait_until(partial(counted, watched), 180, "a minute that is counted", interval=2)
            for name in names:
                open_page(watched, name)
                taken = Image.open(io.BytesIO(watched.page.screenshot()))
                file = Path(PICTURES) / f"admin-{name}{'-phone' if size == PHONE else ''}.png"
                taken.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(file, optimize=True)
                assert file.stat().st_size < MAX_BYTES, file
