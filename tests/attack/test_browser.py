"""The same texts in a real browser: no script of theirs runs, whatever a reader of HTML makes of a page."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from django.contrib.staticfiles import finders
from django.db import transaction
from django.urls import reverse

from messaging.api import ReliableCommunicationBus
from tests.attack import payloads
from tests.attack.filling import fill_all
from tests.attack.test_pages import visit
from tests.support.browser import WatchedPage, chromium
from tests.support.operators import superuser

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

SITE, SCRIPT = "http://localhost", "/admin/jsi18n/"
"""Nobody listens there: the answers were made before. The script is made by a view."""
MAIN = ("Workflow change", "DeadLetter list", "DeadLetter change", "Approval list", "Approval change", "/admin/")
"""Pages that are looked at by default: what agents wrote stands on them in every form."""
AT_ONCE = 400
"""Texts on one live page, which shows 2,000 messages at most."""
PARTS = 6
"""Of the public lists; a field that is short shows the first text of each."""


def rendered(text: str, names: Sequence[str]) -> dict[str, Any]:
    """URL → answer of each page of objects whose texts are this text. Nothing of it stays."""
    with transaction.atomic():
        client = superuser()
        rows = [row for row in fill_all(text) if not names or any(type(row).__name__ in name for name in names)]
        found = {url: answer for name, url, answer in visit(client, rows, text) if not names or name in names}
        found[SCRIPT] = client.get(SCRIPT)
        transaction.set_rollback(True)
    return {url: answer for url, answer in found.items() if answer.status_code == 200}


def look_at_all(pages: dict[str, Any], *, shown: str = "") -> None:
    """Open each page, and click into it; a script that runs, a dialog or a refusal of the policy fails.

    Args:
        pages: URL → answer, as ``rendered`` makes them.
        shown: selects what a page's script makes, to be waited for.
    """
    with chromium() as browser, WatchedPage(browser, SITE) as watched:

        def answer(route: Route) -> None:
            parts = urlsplit(route.request.url)
            found = pages.get(parts.path + (f"?{parts.query}" if parts.query else ""))
            static = parts.path.startswith("/static/")
            file = finders.find(parts.path.removeprefix("/static/")) if static else None
            if found is not None:
                headers = {name.lower(): value for name, value in found.items()}
                route.fulfill(status=200, headers=headers, body=found.content)
            elif isinstance(file, str):
                kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
                route.fulfill(status=200, content_type=kind, body=Path(file).read_bytes())
            else:
                watched.problems.append(f"{watched.page.url} asks for {route.request.url}")
                route.abort()

        watched.page.route("**/*", answer)
        for url in [url for url in pages if url != SCRIPT and "/poll?" not in url]:
            watched.page.goto(SITE + url)
            if shown:
                watched.page.wait_for_selector(shown, state="attached")
            _touch(watched.page)
            watched.problems += [f"{url}: {refusal}" for refusal in watched.refused()]


def _touch(page: Page) -> None:
    """Let whatever waits for the mouse or the focus have it."""
    page.evaluate(
        """for (const element of document.querySelectorAll("#content *, #live *")) {
             for (const kind of ["mouseover", "pointerenter", "focus", "error", "toggle"]) {
               element.dispatchEvent(new Event(kind));
             }
           }"""
    )


def pages_of(text: str, names: Sequence[str]) -> dict[str, Any]:
    """The pages, of which there must be some."""
    found = rendered(text, names)
    assert len(found) >= max(len(names) - 1, 1)
    return found


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_no_script_runs_on_the_main_pages() -> None:
    look_at_all(pages_of("\n".join(payloads.MARKUP), MAIN))


def live_pages(texts: Sequence[str]) -> dict[str, Any]:
    """A live page, and what it reads: messages, approvals and questions with these texts wherever one may stand."""
    with transaction.atomic():
        client = superuser()
        workflow = ReliableCommunicationBus().start_workflow("watched")
        page, poll = reverse("nexus_live:page", args=[workflow]), reverse("nexus_live:poll", args=[workflow])
        shown, read = client.get(page), client.get(f"{poll}?after=0")
        transaction.set_rollback(True)
    answer = read.json()
    places = ("content", "task", "text", "answer", "by", "other")
    answer["messages"] = [
        {"sequence": number, "sender": text, "recipient": text, "type": kind, "data": data, "created_at": text}
        for number, (text, kind, data) in enumerate(
            (
                (text, kind, data)
                for text in texts
                for kind in (text, "chat.answer")
                for data in (text, dict.fromkeys(places, text))
            ),
            1,
        )
    ]
    answer["state"] = {
        "status": texts[0],
        "reason": texts[0],
        "waiting": len(texts),
        "over": True,
        "approvals": [
            {
                "id": text,
                "member": text,
                "question": text,
                "content": text,
                "purpose": purpose,
                "options": [text],
                "deadline": text,
            }
            for text in texts[:100]
            for purpose in ("approval", "speaker", text)
        ],
        "questions": [
            {"id": text, "from": text, "proxy": text, "type": text, "data": {text: text}} for text in texts[:100]
        ],
    }
    answer["more"] = False
    read.content = json.dumps(answer).encode()
    return {page: shown, f"{poll}?after=0": read}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_no_script_runs_on_the_live_page() -> None:
    look_at_all(live_pages(payloads.MARKUP), shown="#log article:last-child")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_no_script_of_the_lists_runs_on_the_live_page() -> None:
    texts = payloads.listed("xss")
    for start in range(0, len(texts), AT_ONCE):
        look_at_all(live_pages(texts[start : start + AT_ONCE]), shown="#log article:last-child")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.django_db(transaction=True)
def test_no_script_of_the_lists_runs_on_any_page(part: int) -> None:
    look_at_all(pages_of("\n".join(payloads.listed("xss")[part::PARTS]), ()))
