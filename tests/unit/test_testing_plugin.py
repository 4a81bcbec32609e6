"""The pytest plugin comes with the package, and costs those nothing who do not use Django."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from messaging import testing
from messaging.testing import plugin, tools
from tests.support.paths import ROOT


def test_the_package_names_the_plugin() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert import_module(project["entry-points"]["pytest11"]["nexus"]) is plugin


@pytest.mark.whole
def test_tests_without_django_run_with_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text("import sys\n\ndef test_it():\n    assert 'django' not in sys.modules\n")
    command = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:django",
        "-p",
        "no:cacheprovider",
        "-p",
        "messaging.testing.plugin",
        "-c",
        "/dev/null",
        "--rootdir",
    ]
    done = subprocess.run(
        [sys.executable, *command, str(tmp_path), str(tmp_path / "test_plain.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_every_tool_is_found_where_the_documents_import_it_from() -> None:
    document = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    for name in tools.__all__:
        assert getattr(testing, name) is getattr(tools, name)
    for name in ("NexusTestCase", "deliver", "drain", "publishing", "sent", "stand_in"):
        assert f"{name}" in document
