"""A worker whose agents cannot work does not start, and says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from messaging.api import ConfigurationError
from messaging.directory.discovery import load_agents

ROOT = Path(__file__).resolve().parents[4]
TWICE = """
@agent("critic")
def one(message, context): ...

@agent("critic")
def two(message, context): ...
"""
MISSPELT = """
@agent("writer")
def writer(message, context): ...

@agent("critic", partners=["writter"])
def critic(message, context): ...
"""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (TWICE, "Agent 'critic' is registered twice"),
        (
            MISSPELT,
            "nexus.E018  Agent 'critic' sends to 'writter', and no agent or group has that name.\n"
            "    Fix: Did you mean 'writer'?",
        ),
    ],
    ids=["registered twice", "unknown partner"],
)
def test_a_worker_that_cannot_work_does_not_start(
    source: str, said: str, project_environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "team_agents.py").write_text("from agents.api import agent\n" + source)
    environment = {
        **project_environment,
        "DATABASE_URL": database_url,
        "NEXUS_AGENTS": "team_agents",
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
    }
    worker = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "nexus_site", "worker", "--concurrency", "1"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert worker.returncode != 0
    assert said in worker.stderr, worker.stderr[-2_000:]


def test_a_module_that_does_not_exist_is_named(settings: Settings) -> None:
    settings.NEXUS = {"BROKER_URL": "memory://start", "AGENTS": "messaging.core.clear, team_agents"}
    with pytest.raises(ConfigurationError, match=r"names the module 'messaging\.core\.clear', which cannot be found"):
        load_agents()


def test_a_module_whose_own_import_fails_is_not_called_missing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halfway_agents.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings.NEXUS = {"BROKER_URL": "memory://start", "AGENTS": "halfway_agents"}
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_agents()
