"""Debian's Chromium by Playwright, and what a page must never do in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TIMEOUT = 15_000
"""Milliseconds that anything in a page may take."""
WIDE, PHONE = (1280, 900), (390, 844)
_SCRIPT = """
window.refused = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.refused.push(`${event.violatedDirective}: ${event.blockedURI || "inline"} ${event.sample || ""}`);
});
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; skips the test where there is none.

    While it runs, its thread has an event loop, so that Django's models cannot be used: ask for what is needed before.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None or find_spec("playwright") is None:
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class WatchedPage:
    """A page of which everything is remembered that it must not do; leaving the block fails the test for it.

    Args:
        browser: whose.
        base_url: of the site.
        size: width and height in pixels.
        dark: whether the person likes it dark.
        allowed: beginnings of errors of the console that the test expects.
    """

    def __init__(
        self,
        browser: Browser,
        base_url: str = "",
        *,
        size: tuple[int, int] = WIDE,
        dark: bool = False,
        allowed: tuple[str, ...] = (),
    ) -> None:
        self.problems: list[str] = []
        self._allowed = allowed
        self._context = browser.new_context(
            base_url=base_url or None,
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        self._context.set_default_timeout(TIMEOUT)
        self._context.add_init_script(_SCRIPT)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(f"{self.page.url}: {error}"))
        self.page.on("dialog", self._dialog)

    def _console(self, message: Any) -> None:
        if message.location.get("url", "").endswith("/favicon.ico"):  # the browser asks for it by itself
            return
        if message.type == "error" and not message.text.startswith(self._allowed or ("\0",)):
            self.problems.append(f"{self.page.url}: {message.text}")

    def _dialog(self, dialog: Any) -> None:
        self.problems.append(f"{self.page.url}: dialog {dialog.message!r}")
        dialog.dismiss()

    def refused(self) -> list[str]:
        """What the content security policy refused in the page that is open."""
        found: list[str] = self.page.evaluate("window.refused || []")
        return found

    def log_in(self, name: str) -> Page:
        """Come in as one of ``browser_site.PEOPLE``."""
        self.page.goto("/admin/login/?next=/admin/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(name)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url("**/admin/")
        return self.page

    def axe(self) -> list[str]:
        """Serious findings of axe-core in the page that is open: rule, how to mend it, where."""
        import axe_playwright_python

        source = Path(axe_playwright_python.__file__).parent / "axe.min.js"
        if not self.page.evaluate("typeof window.axe === 'object'"):
            self.page.evaluate(source.read_text(encoding="utf-8"))
        result = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        bad = [found for found in result["violations"] if found["impact"] in ("serious", "critical")]
        return [f"{found['id']}: {found['help']}: " + "; ".join(map(_node, found["nodes"][:4])) for found in bad]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.close()
        if kind is None:
            assert not self.problems, "\n".join(self.problems)


def _node(node: dict[str, Any]) -> str:
    why = node["any"][0]["message"] if node["any"] else ""
    return f"{node['html'][:120]} {why}"
