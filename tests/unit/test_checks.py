"""Each check is broken once and seen by its id; the configuration as it comes breaks none."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from celery import current_app
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import OperationalError
from pytest_django.fixtures import Settings

from messaging import checks
from messaging.brokers import NEXUS_TOPOLOGY, QueueSpec, Topology
from messaging.brokers.rabbitmq import checks as rabbitmq_checks
from messaging.checks import broker as broker_checks
from messaging.checks import database as database_checks
from messaging.checks import names as name_checks
from messaging.checks import signing as signing_checks
from messaging.core.errors import BrokerUnavailable, TopologyMismatch
from messaging.receiving import preflight
from messaging.transport.current import get_broker

RABBITMQ = "amqp://guest@127.0.0.1:1//"


def found(tag: str = "nexus") -> dict[str, CheckMessage]:
    """The findings of the checks with a tag, by id."""
    return {str(message.id): message for message in run_checks(tags=[tag], include_deployment_checks=True)}


def pretend(monkeypatch: pytest.MonkeyPatch, vendor: str, **attributes: Any) -> None:
    """Let the checks of the database see another one."""
    database = SimpleNamespace(vendor=vendor, display_name=vendor, settings_dict={"OPTIONS": {}}, **attributes)
    monkeypatch.setattr(database_checks, "connection", database)


def queue(arguments: dict[str, str] | None) -> dict[str, Any]:
    """A queue as Celery's settings declare it."""
    return {"exchange": "", "routing_key": "nexus.tasks", "queue_arguments": arguments}


@pytest.fixture
def on_rabbitmq(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A configuration beside RabbitMQ that is safe: each test breaks one thing."""
    settings.NEXUS = {"BROKER_URL": RABBITMQ}
    settings.SECRET_KEY = "a key of our own"
    settings.DEBUG = False
    # The SQLite database of the tests itself would be refused here.
    pretend(monkeypatch, "postgresql")
    monkeypatch.setitem(current_app.conf, "broker_url", RABBITMQ)
    monkeypatch.setitem(current_app.conf, "broker_transport_options", {"confirm_publish": True})
    monkeypatch.setattr(current_app.amqp, "queues", {"nexus.tasks": queue({"x-queue-type": "quorum"})})
    return settings


def test_the_configuration_as_it_comes_is_safe() -> None:
    assert found() == {}


def test_a_safe_configuration_beside_rabbitmq_passes(on_rabbitmq: Settings) -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("options", "identifier", "words"),
    [
        ({"BATCH_SIZES": 3}, "nexus.E001", "Did you mean BATCH_SIZE?"),
        ({"MAX_ATTEMPTS": "many"}, "nexus.E001", "expected int, got 'many'"),
        ({"BROKER_URL": "http://localhost"}, "nexus.E001", "broker URL"),
        ({"DEDUP_TTL": 60}, "nexus.E008", "handled twice"),
        ({"LEASE_SECONDS": 2}, "nexus.E013", "LEASE_SECONDS"),
        ({"REDELIVERY_AFTER": 1}, "nexus.E013", "REDELIVERY_AFTER"),
        ({"RELAY_INTERVAL": 3}, "nexus.E013", "RELAY_LEASE"),
        ({"RETRY_BASE": 1000}, "nexus.E013", "RETRY_CAP"),
        ({"CONSUME": "transactional,slow"}, "nexus.E014", "'transactional,slow'"),
        ({"CONSUME": ","}, "nexus.E014", "','"),
        ({"PREFETCH": 1}, "nexus.W004", "PREFETCH"),
    ],
)
def test_settings(settings: Settings, options: dict[str, object], identifier: str, words: str) -> None:
    settings.NEXUS = {"BROKER_URL": "memory://checks", **options}
    message = found()[identifier]
    assert words in message.msg
    assert message.hint


def test_a_broken_setting_is_the_only_thing_reported(settings: Settings) -> None:
    settings.NEXUS = {"BROKER_URL": RABBITMQ, "NONSENSE": 1}
    assert list(found()) == ["nexus.E001"]
    assert found("nexus_broker") == {}


def test_manage_py_check_refuses_without_a_traceback(settings: Settings) -> None:
    settings.NEXUS = {"NONSENSE": 1}
    with pytest.raises(SystemCheckError, match=r"nexus\.E001"):
        call_command("check")


def test_default_secret_key(on_rabbitmq: Settings) -> None:
    on_rabbitmq.SECRET_KEY = on_rabbitmq.DEFAULT_SECRET_KEY
    assert "SECRET_KEY" in found()["nexus.E007"].msg


def test_debug_beside_rabbitmq(on_rabbitmq: Settings) -> None:
    on_rabbitmq.DEBUG = True
    assert not found()["nexus.W001"].is_serious()


def test_sqlite_beside_rabbitmq(on_rabbitmq: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "sqlite")
    assert "DATABASE_URL" in str(found()["nexus.E006"].hint)
    on_rabbitmq.DEBUG = True
    assert "nexus.E006" not in found()


def test_old_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "sqlite")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    assert "RETURNING" in found()["nexus.E010"].msg


def test_another_database(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "mysql")
    assert "PostgreSQL" in found()["nexus.E012"].msg


class _Cursor:
    """Answers one question."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def execute(self, _: str) -> None:
        """Take the question."""

    def fetchone(self) -> tuple[object]:
        return (self._answer,)


@pytest.mark.parametrize(("version", "refused"), [("130012", True), ("140000", False), ("170002", False)])
def test_old_postgresql(monkeypatch: pytest.MonkeyPatch, version: str, refused: bool) -> None:
    pretend(monkeypatch, "postgresql", cursor=lambda: _Cursor(version))
    assert ("nexus.E011" in found("nexus_database")) is refused


@pytest.mark.parametrize("tag", ["nexus_database", "nexus_tables"])
def test_a_database_out_of_reach_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch, tag: str) -> None:
    def fail(*_: object) -> Any:
        raise OperationalError("connection refused")

    pretend(monkeypatch, "postgresql", cursor=fail)
    monkeypatch.setattr(database_checks, "MigrationExecutor", fail)
    monkeypatch.setattr(name_checks, "eclipsed_groups", fail)
    monkeypatch.setattr(signing_checks, "wanted_mode", fail)
    assert [(key, value.is_serious()) for key, value in found(tag).items()] == [("nexus.W003", False)]


@pytest.mark.django_db
def test_missing_tables() -> None:
    assert found("nexus_tables") == {}
    with patch("django.db.migrations.recorder.MigrationRecorder.applied_migrations", return_value={}):
        assert "manage.py migrate" in str(found("nexus_tables")["nexus.E017"].hint)


@pytest.mark.parametrize(
    ("name", "value", "identifier"),
    [
        ("broker_transport_options", {}, "nexus.E002"),
        ("broker_transport_options", {"confirm_publish": False}, "nexus.E002"),
        ("broker_connection_max_retries", 100, "nexus.E009"),
        ("broker_channel_error_retry", False, "nexus.E009"),
        ("worker_detect_quorum_queues", False, "nexus.E009"),
        ("accept_content", ["json", "pickle"], "nexus.E015"),
        ("task_serializer", "pickle", "nexus.E015"),
    ],
)
def test_celery(
    on_rabbitmq: Settings, monkeypatch: pytest.MonkeyPatch, name: str, value: object, identifier: str
) -> None:
    monkeypatch.setitem(current_app.conf, name, value)
    assert list(found()) == [identifier]
    assert found()[identifier].hint


@pytest.mark.parametrize("arguments", [None, {}, {"x-queue-type": "classic"}])
def test_a_classic_queue(
    on_rabbitmq: Settings, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str] | None
) -> None:
    monkeypatch.setattr(current_app.amqp, "queues", {"nexus.tasks": queue(arguments)})
    assert "'nexus.tasks'" in found()["nexus.E003"].msg


def test_a_classic_queue_of_the_project_is_its_own_affair(
    on_rabbitmq: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues = {"celery": queue(None), "nexus.tasks": queue({"x-queue-type": "quorum"})}
    monkeypatch.setattr(current_app.amqp, "queues", queues)
    assert found() == {}


def test_a_celery_that_nexus_was_not_installed_in(on_rabbitmq: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_app.amqp, "queues", {"celery": queue(None)})
    assert "messaging.celery.install" in str(found()["nexus.W006"].hint)


def test_celery_beside_rabbitmq_may_use_something_else(on_rabbitmq: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(current_app.conf, "broker_url", "redis://localhost")
    monkeypatch.setitem(current_app.conf, "broker_transport_options", {})
    assert found() == {}


def test_sqlite_without_immediate_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "sqlite")
    assert "configure" in str(found()["nexus.W005"].hint)


def _topology(**changes: Any) -> Topology:
    return replace(NEXUS_TOPOLOGY, **changes)


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        (_topology(queues=(QueueSpec(name="nexus.transactional"),)), "no dead-letter exchange"),
        (_topology(exchanges=()), "nobody declares"),
        (_topology(bindings=()), "no queue is bound"),
    ],
)
def test_no_place_for_dead_letters(monkeypatch: pytest.MonkeyPatch, topology: Topology, words: str) -> None:
    monkeypatch.setattr(get_broker(), "topology", topology)
    assert words in found()["nexus.E004"].msg


class _Broker:
    """A broker whose ``initialize`` fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def initialize(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TopologyMismatch("queue 'nexus.transactional' exists with other arguments"), ("nexus.E005", True)),
        (BrokerUnavailable("connection refused"), ("nexus.W002", False)),
    ],
)
def test_what_the_broker_says(monkeypatch: pytest.MonkeyPatch, error: Exception, expected: tuple[str, bool]) -> None:
    monkeypatch.setattr(broker_checks, "get_broker", lambda: _Broker(error))
    assert [(key, value.is_serious()) for key, value in found("nexus_broker").items()] == [expected]


def test_a_broker_out_of_reach_is_no_reason_to_refuse(on_rabbitmq: Settings) -> None:
    assert [(key, value.is_serious()) for key, value in found("nexus_broker").items()] == [("nexus.W002", False)]


@pytest.mark.parametrize(("version", "refused"), [("3.9.13", True), ("3.10.8", False), ("4.0.5", False), ("", False)])
def test_old_rabbitmq(version: str, refused: bool) -> None:
    class Connected:
        class connection:  # noqa: N801 - kombu's name
            server_properties = {"version": version}

    messages = rabbitmq_checks.check_version(Connected)
    assert [message.id for message in messages] == (["nexus.E016"] if refused else [])


def test_the_table_of_ids_is_complete() -> None:
    """The module's docstring is what people read; every id that a check can give stands in it."""
    text = checks.__doc__ or ""
    for number in (*range(1, 18), 19):  # agents/checks.py has the other one
        assert text.count(f"nexus.E{number:03} ") == 1
    for number in range(1, 7):
        assert text.count(f"nexus.W{number:03} ") == 1


@pytest.mark.django_db(transaction=True)
def test_a_worker_says_on_one_screen_why_it_does_not_start(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.NEXUS = {"BROKER_URL": "memory://checks", "DEDUP_TTL": 60}
    with pytest.raises(SystemExit) as refusal:
        preflight.refuse_unsafe_configuration()
    assert refusal.value.code == preflight.UNUSABLE_CONFIGURATION
    text = capsys.readouterr().err
    assert "nexus.E008" in text
    assert "Fix: Set NEXUS_DEDUP_TTL" in text
    assert len(text.splitlines()) < 24


@pytest.mark.django_db(transaction=True)
def test_a_silenced_check_does_not_stop_a_worker(settings: Settings) -> None:
    settings.NEXUS = {"BROKER_URL": "memory://checks", "DEDUP_TTL": 60}
    settings.SILENCED_SYSTEM_CHECKS = ["nexus.E008"]
    preflight.refuse_unsafe_configuration()
