"""A test that lets a secret out fails, wherever it writes it; others do not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

LEAKS = """
import logging

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client

from tests.support.secret_scan import plant

TOKEN = plant("a token", "kept-9a8b7c6d5e")


def view(request):
    return HttpResponse(settings.SECRET_KEY)


def test_log():
    logging.getLogger("nexus").warning("the key is %s", settings.SECRET_KEY)


def test_output():
    print("amqp://nexus:" + TOKEN + "@host")


def test_failure():
    raise ValueError(TOKEN)


def test_file(tmp_path):
    (tmp_path / "worker.log").write_text("x" * 3_000_000 + TOKEN)


def test_page(monkeypatch):
    monkeypatch.setattr(settings, "ROOT_URLCONF", [])
    monkeypatch.setattr("django.core.handlers.base.BaseHandler.get_response", lambda self, request: view(request))
    Client().get("/")


def test_nothing():
    print("kept", "the key")
"""


@pytest.mark.whole
def test_what_gets_out_fails_its_test(tmp_path: Path, project_environment: dict[str, str]) -> None:
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pytest.ini")]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path / "test_leaks.py")],
        env=project_environment, cwd=ROOT, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    lost = sorted(line.rpartition("::")[2].split(" ")[0] for line in told)
    assert lost == ["test_failure", "test_file", "test_log", "test_output", "test_page"], done.stdout + done.stderr
    assert "2 passed" in done.stdout, "the file is found when its test is over"
    assert "kept-9a8b7c6d5e" not in done.stdout, "the report does not repeat it"
    assert project_environment["SECRET_KEY"] not in done.stdout
