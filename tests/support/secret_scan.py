"""Looks for secrets in all that a test run writes: captured output and logs, log files, pages, and failures' texts.

Loaded by `-p tests.support.secret_scan` in pytest.ini. A test that lets one out fails, whatever else it says. Secrets
are what `plant` was told, SECRET_KEY, the master key of the run's folder, and passwords in the URLs of settings.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

MAX_TEXT = 2_000_000
"""Characters of one text that are looked at: its beginning and its end."""
MAX_FILES = 40
MIN_LENGTH = 8
"""A shorter password would be found everywhere."""

_planted: dict[str, str] = {}
_pages: list[str] = []


def plant(name: str, secret: str) -> str:
    """Have a secret looked for from now on; returns it.

    Args:
        name: what failures call it.
        secret: at least ``MIN_LENGTH`` characters.
    """
    assert len(secret) >= MIN_LENGTH, name
    _planted[secret] = name
    return secret


def found_in(text: str) -> list[str]:
    """Names of the secrets that stand in a text."""
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT // 2] + text[-MAX_TEXT // 2 :]
    return sorted({name for secret, name in _planted.items() if secret in text})


def pytest_sessionstart() -> None:
    """Plant what the run's settings hold, and watch the pages of Django's test client."""
    from django.conf import settings
    from django.test import Client

    if not settings.configured:
        return
    plant("SECRET_KEY", settings.SECRET_KEY)
    for name in ("DATABASE_URL", "BROKER_URL", "REDIS_URL"):
        password = urlsplit(str(getattr(settings, name, ""))).password or ""
        if len(password) >= MIN_LENGTH:
            plant(f"the password of {name}", password)
    request = Client.request

    def watched(self: Client, **environ: Any) -> Any:
        response = request(self, **environ)
        if not response.streaming and (names := found_in(response.content.decode(errors="replace"))):
            _pages.append(f"the page {environ.get('PATH_INFO')} shows {', '.join(names)}")
        return response

    Client.request = watched  # type: ignore[method-assign]


def pytest_runtest_setup() -> None:
    """Plant the master key, once the run has made one."""
    from django.conf import settings

    file = Path(str(getattr(settings, "DATA_DIR", ""))) / "master.key"
    if settings.configured and file.is_file():
        for line in file.read_text().split():
            if len(line) >= 32:
                _planted.setdefault(line, "the master key")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Fail a test that let a secret out. Log files are looked at when it is over."""
    report: Any = yield
    problems = [f"{title} holds {', '.join(names)}" for title, names in _looked(item, report) if names]
    problems += _pages
    _pages.clear()
    if problems:
        report.outcome = "failed"
        report.longrepr = "A secret got out:\n" + "\n".join(problems)
        report.sections.clear()
    return report


def _looked(item: pytest.Item, report: Any) -> Iterator[tuple[str, list[str]]]:
    for title, text in report.sections:
        if title.endswith(report.when):  # earlier ones were looked at
            yield title, found_in(text)
    if report.failed:
        yield "the failure", found_in(str(report.longrepr))
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if report.when == "teardown" and folder is not None:
        for number, file in enumerate(sorted(Path(folder).rglob("*.log"))):
            if number < MAX_FILES and file.is_file():
                yield file.name, found_in(file.read_text(errors="replace"))
