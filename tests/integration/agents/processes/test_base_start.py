"""A worker whose agents cannot work does not start, and says why."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
HEAD = "from agents.api import agent\n"
TWICE = '@agent("critic")\ndef one(message, context): ...\n@agent("critic")\ndef two(message, context): ...\n'


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (TWICE, "Agent 'critic' is registered twice"),
        (
            '@agent("critic")\ndef one(message): ...\n',
            "Agent 'critic': its handler cannot be called as handler(message,",
        ),
        ('@agent("critic", accepts="draft")\ndef one(message, context): ...\n', "Write ['draft']"),
        (
            '@agent("writer")\ndef writer(m, c): ...\n@agent("critic", partners=["writter"])\ndef critic(m, c): ...\n',
            "nexus.E018  Agent 'critic' sends to 'writter', and no agent or group has that name.\n"
            "    Fix: Did you mean 'writer'?",
        ),
        (None, "NEXUS_AGENTS names the module 'team_agents', which cannot be found."),
    ],
)
def test_a_worker_that_cannot_work_does_not_start(
    source: str | None, said: str, project_environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    if source is not None:
        (tmp_path / "team_agents.py").write_text(HEAD + source)
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
