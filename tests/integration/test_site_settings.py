"""The site's own settings: logging of workers, liveness by IP, warnings that a variable answers, times that agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import honcho.manager
import pytest
from django.db import connection
from django.test import Client
from pytest_django.fixtures import Settings

from messaging.checks.database import check_isolation, check_server_isolation
from messaging.conf import load
from messaging.core.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
LOGS = """
import logging, django
django.setup()
from nexus_site.celery import app
app.log.setup(loglevel="WARNING", redirect_stdouts=False)  # what `celery worker` does without --loglevel
print(logging.getLogger().level, logging.getLogger("nexus.outcomes").isEnabledFor(logging.INFO))
"""


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize(
    ("level", "said"), [("", "20 True"), ("INFO", "20 True"), ("ERROR", "40 False"), ("DEBUG", "10 True")]
)
def test_a_worker_logs_as_log_level_says(project_environment: dict[str, str], level: str, said: str) -> None:
    chosen = {"LOG_LEVEL": level} if level else {}
    assert run({**project_environment, **chosen}, "-c", LOGS).stdout.strip() == said


@pytest.mark.parametrize("host", ["10.1.2.3", "[fe80::1]", "evil.example"])
@pytest.mark.django_db
def test_liveness_by_any_host(host: str, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["nexus.example.com"]
    settings.SECURE_SSL_REDIRECT = True
    client = Client(headers={"host": host})
    for answer in (client.get("/health/live"), client.head("/health/live")):
        assert answer.status_code == 200
    assert client.post("/health/live").status_code != 200
    assert client.get("/health/ready").status_code in (301, 400)


def test_a_deploy_check_warns_only_of_what_a_variable_sets(project_environment: dict[str, str]) -> None:
    variables = {
        "BROKER_URL": "amqp://127.0.0.1:1//",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
        "DEBUG": "",
        "SECRET_KEY": "abcdefghijklmnopqrstuvwxyz" * 2,
        "SECURE_SSL_REDIRECT": "1",
        "SECURE_HSTS_SECONDS": "31536000",
        "SECURE_HSTS_SUBDOMAINS": "1",
    }
    written = run({**project_environment, **variables}, "manage.py", "check", "--deploy").stderr
    assert set(re.findall(r"\((\w+\.[EW]\d+)\)", written)) == {"nexus.W002", "nexus.W003"}


def test_make_run_leaves_workers_time_to_drain() -> None:
    drain = re.search(r"NEXUS_DRAIN_TIMEOUT:-(\d+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert drain is not None
    assert int(drain[1]) + 1 < honcho.manager.KILL_WAIT


@pytest.mark.parametrize("level", ["serializable", "repeatable read", "SERIALIZABLE", 4])
def test_other_isolation_is_refused(level: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "postgresql")
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", level)
    assert [found.id for found in check_isolation()] == ["nexus.E020"]
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "isolation_level", "read committed")
    assert check_isolation() == []


@pytest.mark.parametrize("level", ["serializable", "repeatable read", "read committed"])
@pytest.mark.django_db(transaction=True)
def test_other_isolation_by_the_session_is_refused(level: str, database_vendor: str) -> None:
    if database_vendor != "postgres":
        assert check_server_isolation() == []
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('default_transaction_isolation', %s, false)", [level])
    try:
        refused = [found.id for found in check_server_isolation()]
    finally:
        connection.close()
    assert refused == ([] if level == "read committed" else ["nexus.E020"])


@pytest.mark.parametrize(
    ("name", "value"), [("ALERT_WEBHOOK", "ftp://x"), ("ALERT_WEBHOOK", "hook"), ("ALERT_MAIL", "nobody")]
)
def test_where_alerts_go_is_checked(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        load({"BROKER_URL": "memory://x", name: value})
