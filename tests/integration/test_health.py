"""Health: probes that fail, hang or lie in ruins, and who sees what of the report."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from time import monotonic
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connections
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from messaging.api import ReliableCommunicationBus, registry
from messaging.models import Delivery, RelayLease, WorkerStatus
from messaging.observing import system as installation
from messaging.observing.health import Finding, HealthChecker, Probe
from messaging.web import health

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def system(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> HealthChecker:
    """The system's probes without memory of the test before."""
    settings.NEXUS = {"BROKER_URL": f"memory://{uuid4()}"}
    checker = HealthChecker(installation.system.probes, max_age=0.0)
    monkeypatch.setattr(health, "system", checker)
    monkeypatch.setattr("messaging.management.commands.nexus_health.system", checker)
    return checker


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """What a hanging probe waits for."""
    event = threading.Event()
    yield event
    event.set()


def lead(seconds_ago: float = 0.0) -> None:
    """Let a relay have renewed its lease."""
    renewed = timezone.now() - timedelta(seconds=seconds_ago)
    RelayLease.objects.create(
        name="relay", holder="host:1", token=uuid4(), renewed_at=renewed, expires_at=renewed + timedelta(seconds=3)
    )


def work(seconds_ago: float = 0.0) -> None:
    """Let a consumer have written its heartbeat."""
    then = timezone.now() - timedelta(seconds=seconds_ago)
    WorkerStatus.objects.create(
        id=uuid4(),
        host="host",
        pid=1,
        thread="consumer",
        started_at=then,
        heartbeat_at=then,
        signing="enforce",
        signer="nexus",
    )


def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_user("operator", is_staff=True))
    return client


def test_all_is_well() -> None:
    lead()
    work()
    response = staff().get("/health/")
    assert response.status_code == 200, response.json()
    report = response.json()
    assert report["status"] == "ok"
    parts = {
        "database",
        "broker",
        "relay",
        "workers",
        "backlog",
        "breakers",
        "dead letters",
        "parked",
        "disk",
        "signatures",
    }
    assert set(report) == {"status"} | parts
    for name in parts:
        assert report[name]["ok"] is True
        assert report[name]["detail"]
        assert report[name]["latency"] >= 0


def test_others_only_see_the_status() -> None:
    client = Client()
    client.force_login(User.objects.create_user("user"))
    for caller in (Client(), client):
        response = caller.get("/health/")
        assert response.status_code == 503
        assert response.json() == {"status": "failing"}
        assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize(("seconds_ago", "ok"), [(0, True), (6, True), (60, False)])
def test_the_relay(seconds_ago: float, ok: bool) -> None:
    lead(seconds_ago)
    report = staff().get("/health/").json()
    assert report["relay"]["ok"] is ok
    assert "host:1" in report["relay"]["detail"]


def test_no_relay_has_ever_run() -> None:
    assert "manage.py nexus_relay" in staff().get("/health/").json()["relay"]["detail"]


def test_a_broker_that_is_down(settings: Settings) -> None:
    settings.NEXUS = {"BROKER_URL": "amqp://127.0.0.1:1//"}
    lead()
    response = staff().get("/health/")
    assert response.status_code == 503
    assert response.json()["broker"]["ok"] is False
    assert response.json()["database"]["ok"] is True


def test_settings_that_cannot_be_read(settings: Settings) -> None:
    settings.NEXUS = {"NONSENSE": 1}
    report = staff().get("/health/").json()
    assert "NONSENSE" in report["broker"]["detail"]
    assert report["database"]["ok"] is True


def test_a_database_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    client = staff()

    def fail() -> None:
        raise OperationalError("the database system is shutting down")

    # Every thread has a connection of its own, so it is the class that has to fail.
    monkeypatch.setattr(type(connections["default"]), "ensure_connection", lambda _: fail())
    response = client.get("/health/")
    monkeypatch.undo()
    assert response.status_code == 503
    assert response.json() == {"status": "failing"}  # without a database nobody is known to be staff


def test_a_probe_that_hangs_is_given_up_and_not_started_again(stuck: threading.Event) -> None:
    starts = []

    def hang() -> Finding:
        starts.append(1)
        stuck.wait(60)
        return Finding(ok=True, detail="late")

    quick = Probe(name="quick", check=lambda: Finding(ok=True, detail="here"))
    checker = HealthChecker((Probe(name="slow", check=hang, timeout=0.1), quick), max_age=0.0)
    began = monotonic()
    for _ in range(3):
        report = checker.report()
        assert not report.findings["slow"].ok
        assert "no answer" in report.findings["slow"].detail
        assert report.findings["quick"].ok
    assert monotonic() - began < 5
    assert len(starts) == 1


@pytest.mark.parametrize("error", [ValueError("boom"), OperationalError("gone"), RecursionError()])
def test_a_probe_that_raises(error: Exception) -> None:
    def fail() -> Finding:
        raise error

    finding = HealthChecker((Probe(name="broken", check=fail),)).report().findings["broken"]
    assert not finding.ok
    assert type(error).__name__ in finding.detail


def test_many_callers_are_few_probes() -> None:
    calls = []

    def count() -> Finding:
        calls.append(1)
        return Finding(ok=True, detail="")

    checker = HealthChecker((Probe(name="counted", check=count),), max_age=60)
    callers = [threading.Thread(target=checker.report) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert len(calls) == 1


def test_only_reading() -> None:
    assert Client().post("/health/").status_code == 405
    assert Client().head("/health/").status_code == 503


def test_the_command() -> None:
    output = StringIO()
    with pytest.raises(SystemExit) as failing:
        call_command("nexus_health", stdout=output)
    assert failing.value.code == 1
    assert "relay      FAILING" in output.getvalue()
    lead()
    work()
    output = StringIO()
    call_command("nexus_health", "--json", stdout=output)
    assert json.loads(output.getvalue())["status"] == "ok"


def test_a_worker_that_fell_silent() -> None:
    work(seconds_ago=60)
    detail = staff().get("/health/").json()["workers"]
    assert detail["ok"] is False
    assert "host, process 1" in detail["detail"]


def test_messages_that_wait_too_long() -> None:
    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    bus.register_agent("waiting", lambda message, context: None)
    try:
        bus.send(bus.start_workflow("health"), "waiting", "step", sender="web")
    finally:
        registry.remove("waiting")
    client = staff()
    assert client.get("/health/").json()["backlog"]["ok"] is True
    Delivery.objects.update(available_at=timezone.now() - timedelta(seconds=100))
    backlog = client.get("/health/").json()["backlog"]
    assert backlog["ok"] is False
    assert "NEXUS_LATE_AFTER" in backlog["detail"]


def test_live_and_ready_do_not_ask_the_broker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "readiness", HealthChecker(installation.readiness.probes, max_age=0.0))
    settings.NEXUS = {"BROKER_URL": "amqp://127.0.0.1:1//"}
    assert Client().get("/health/live").status_code == 200
    assert Client().get("/health/ready").status_code == 200

    def fail(_: object) -> None:
        raise OperationalError("down")

    monkeypatch.setattr(type(connections["default"]), "ensure_connection", fail)
    assert Client().get("/health/ready").status_code == 503
    assert Client().get("/health/live").status_code == 200
