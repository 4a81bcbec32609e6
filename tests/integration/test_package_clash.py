"""Other packages called ``messaging`` or ``agents``: the checks name them before anything fails for want of a name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "shop", {apps}]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
"""
AGENTS = """
from agents import agent


@agent("clerk")
def clerk(message, context):
    pass
"""


def check(folder: Path, package: str, *apps: str) -> subprocess.CompletedProcess[str]:
    """Run the checks of a project in whose folder stands a package of that name."""
    for name in (package, "shop"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").touch()
    (folder / "shop" / "nexus_agents.py").write_text(AGENTS)
    (folder / "host_settings.py").write_text(SETTINGS.format(apps=", ".join(map(repr, apps))))
    return subprocess.run(
        [sys.executable, "-m", "django", "check", "--settings", "host_settings"],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_check_names_another_agents(tmp_path: Path) -> None:
    done = check(tmp_path, "agents", "messaging", "agents")
    assert done.returncode == 1
    assert "nexus.E019" in done.stderr
    assert str(tmp_path / "agents" / "__init__.py") in done.stderr
    assert "Traceback" not in done.stderr


def test_another_messaging_is_named_before_the_first_import_fails(tmp_path: Path) -> None:
    done = check(tmp_path, "messaging", "messaging", "agents")
    assert done.returncode == 1
    refusal = done.stderr.splitlines()[-1]
    assert "nexus.E019" in refusal
    assert str(tmp_path / "messaging" / "__init__.py") in refusal


def test_messaging_alone_leaves_the_name_agents_to_others(tmp_path: Path) -> None:
    done = check(tmp_path, "agents", "messaging")
    assert "nexus.E019" not in done.stderr
    assert "cannot import name 'agent' from 'agents'" in done.stderr  # the project's own mistake, in Python's words
