"""The Celery tasks of a project run in the workers of Nexus, from the project's own queue."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from messaging.testing.servers.processes import Supervised
from tests.support.paths import ROOT

SETTINGS = """
from nexus_site.settings import *

CELERY_TASK_DEFAULT_QUEUE = "celery"
"""
TASKS = """
from celery import shared_task


@shared_task
def pack(order):
    return f"packed {order}"
"""
SEND = """
import django

django.setup()
from depot.tasks import pack
from messaging.tasks import prune

pack.delay(7)
prune.delay()
"""


@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.parametrize("broker", ["embedded", "rabbitmq"])
def test_a_task_of_an_app_is_found_and_run(
    request: pytest.FixtureRequest,
    project_environment: dict[str, str],
    database_url: str,
    tmp_path: Path,
    broker: str,
) -> None:
    (tmp_path / "depot").mkdir()
    (tmp_path / "depot" / "__init__.py").touch()
    (tmp_path / "depot" / "tasks.py").write_text(TASKS)
    (tmp_path / "host_settings.py").write_text(SETTINGS)
    environment = {
        **project_environment,
        "DATABASE_URL": database_url,
        "NEXUS_APPS": "depot",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "DJANGO_SETTINGS_MODULE": "host_settings",
    }
    if broker == "rabbitmq":
        environment["BROKER_URL"] = request.getfixturevalue("rabbitmq_url")
    command = [sys.executable, "-m", "celery", "-A", "nexus_site", "worker", "-c", "1", "-l", "info"]
    with Supervised(command, log_file=tmp_path / "worker.log", environment=environment) as worker:
        worker.start()
        worker.wait_for_log("ready", 30)
        subprocess.run([sys.executable, "-c", SEND], cwd=ROOT, env=environment, check=True, timeout=60)
        worker.wait_for_log("'packed 7'", 20)
        worker.wait_for_log("nexus.prune", 20)
        worker.wait_for_log("{'processed_ids': 0}", 20)
        assert worker.log().count("'packed 7'") == 1
