"""What people on call do, in a browser: each walk ends without an error of the console or a refusal of the policy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from messaging.testing.servers.waiting import wait_until
from tests.support.browser import PHONE, TIMEOUT, WatchedPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]  # with the site, on a machine that does much else


def until_shown(page: Page, text: str) -> None:
    """Load a page again until it says something."""

    def shown() -> bool:
        page.reload()
        return page.locator("body").filter(has_text=text).count() > 0

    wait_until(
        shown, TIMEOUT / 1_000, lambda: f"{text!r} on {page.url}: {page.inner_text('body')[:2_000]}", interval=0.3
    )


def test_what_failed_is_found_by_its_cause_edited_and_done(browser: Browser, site: str) -> None:
    with WatchedPage(browser, site) as watched:
        page = watched.log_in("olga")
        page.locator("#nexus-problems").get_by_role("link", name="Dead letters").click()
        page.get_by_role("link", name="By cause").click()
        page.get_by_role("link", name="The newest one").first.click()
        page.locator("#nexus-edit").click()
        data = page.get_by_label("Data")
        data.fill(data.input_value().replace('"order"', '"account": "A-9", "order"'))
        page.get_by_label("Reason").fill("the account was left out")
        page.locator("#nexus-send-edited").click()
        assert "takes the place of the one that died" in page.locator(".messagelist").inner_text()
        page.locator(".field-workflow_link a").click()
        until_shown(page, "2 of 2 deliveries")
        assert "archivist" in page.locator(".nexus-messages").inner_text()
        page.locator(".nexus-zoom [data-zoom=in]").click()


def test_a_waiting_message_is_approved_on_a_phone(browser: Browser, site: str) -> None:
    with WatchedPage(browser, site, size=PHONE) as watched:
        page = watched.log_in("olga")
        page.goto("/admin/nexus_agents/approval/?status__exact=waiting")
        page.locator("#result_list tbody th a").first.click()
        assert "your order is on its way" in page.locator(".field-what_it_is_about").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0], "nothing sticks out"
        page.get_by_label("Yes, approve").check()
        page.get_by_label("Text").fill("fine")
        page.get_by_role("button", name="Save", exact=True).click()
        assert "You approved what writer asked" in page.locator(".messagelist").inner_text()
        page.goto("/admin/nexus_agents/approval/?status__exact=approved")
        page.locator("#result_list tbody th a").first.click()
        page.get_by_role("link", name="chat", exact=True).click()
        until_shown(page, "approved by olga: fine")


def test_an_agent_is_paused_and_resumed(browser: Browser, site: str) -> None:
    with WatchedPage(browser, site) as watched:
        page = watched.log_in("olga")
        page.goto("/admin/nexus/agent/")
        page.get_by_role("link", name="clerk").click()
        page.locator("#nexus-pause").click()
        assert "1 agent paused" in page.locator(".messagelist").inner_text()
        page.goto("/admin/nexus/agent/?paused=yes")
        assert "paused" in page.locator("#result_list tbody").inner_text()
        page.get_by_role("link", name="clerk").click()
        assert "by olga" in page.locator(".field-pause_note").inner_text()
        page.locator("#nexus-resume").click()
        assert "1 agent resumed" in page.locator(".messagelist").inner_text()


def test_a_viewer_may_change_nothing(browser: Browser, site: str) -> None:
    with WatchedPage(browser, site) as watched:
        page = watched.log_in("vera")
        for table in ("workflow", "deadletter", "agent", "signingkey", "ruleset"):
            page.goto(f"/admin/nexus/{table}/")
            assert page.locator("select[name=action], #content .addlink").count() == 0, table
            row = page.locator("#result_list tbody th a")
            if row.count():
                row.first.click()
                page.wait_for_url("**/change/**")
                offered = page.locator(
                    "#content-main button, #content-main input[type=submit], .deletelink, .nexus-act"
                )
                said = [text for text in offered.all_inner_texts() if text not in ("Go", "−", "+", "Fit")]
                assert not [text for text in said if text], (table, said)


def test_an_operator_has_no_keys(browser: Browser, site: str) -> None:
    with WatchedPage(browser, site) as watched:
        page = watched.log_in("olga")
        for table in ("signingkey", "accessgrant", "ruleset", "foreignsender"):
            page.goto(f"/admin/nexus/{table}/")
            assert page.locator("#content .addlink").count() == 0, table
            said = " ".join(page.locator("select[name=action] option").all_inner_texts())
            assert not re.search("[Rr]evoke|[Dd]elete|[Rr]etire", said), (table, said)
