"""People and programs are told: of each outcome once, of dead letters and parked workflows, and why nothing moves."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from messaging.api import (
    Envelope,
    HandlerContext,
    RetryPolicy,
    TerminalError,
    WorkflowBlocked,
    dead_lettered,
    workflow_parked,
)
from messaging.brokers import OutgoingMessage
from messaging.brokers.topology import TRANSACTIONAL_QUEUE
from messaging.core.ids import message_id_of
from messaging.models import Alert, DeadLetter, Delivery, WorkerStatus, Workflow
from messaging.observing.probes import check_dead_letters, check_parked, oldest_unhandled
from messaging.recovery import alerting
from messaging.workflows import life_cycle
from tests.support.lab import Lab

TWO = RetryPolicy(max_attempts=2, base=0.1, cap=1.0)


def fails(message: Envelope, context: HandlerContext) -> None:
    raise ValueError("this is the cause")


def parked(lab: Lab, *, leased: bool = False) -> UUID:
    """A workflow that a dead letter stopped, with a message behind it."""
    lab.agent("bad", fails, retry=TWO, leased=leased)
    workflow = lab.workflow()
    lab.send(workflow, "bad", 1)
    lab.send(workflow, "bad", 2)
    lab.settle()
    assert lab.bus.workflow_status(workflow) == "parked"
    return workflow


# --- why nothing moves ---


def test_resume_says_what_to_do_while_a_dead_letter_is_open(lab: Lab, admin_client: Client) -> None:
    workflow = parked(lab)
    letter = DeadLetter.objects.get()
    with pytest.raises(WorkflowBlocked, match=f"nexus_replay {letter.pk}"):
        lab.bus.resume_workflow(workflow)
    errors = StringIO()
    with pytest.raises(SystemExit):
        call_command("nexus_workflows", "resume", str(workflow), stdout=StringIO(), stderr=errors)
    assert "nexus_discard" in errors.getvalue()
    page = admin_client.post(
        "/admin/nexus/workflow/", {"action": "resume", "_selected_action": [str(workflow)]}, follow=True
    )
    assert f"nexus_replay {letter.pk}" in page.content.decode()
    assert lab.bus.workflow_status(workflow) == "parked"
    lab.agent("bad")
    lab.replay(letter.pk)
    assert lab.bus.workflow_status(workflow) == "running"
    lab.settle()
    assert lab.all_processed(workflow)


def test_a_workflow_that_was_parked_for_another_reason_may_be_resumed(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    life_cycle.park(workflow, "a gap")
    lab.bus.resume_workflow(workflow)
    lab.send(workflow, "a")
    lab.settle()
    assert lab.all_processed(workflow)


def test_what_is_held_counts_as_unhandled(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    for number in range(3):
        lab.send(workflow, "a", number)
    _, *others = lab.take_offered()
    lab.publish(others)
    lab.work()
    Delivery.objects.filter(workflow=workflow, position=1).update(state="leased")  # somebody works on it for ever
    lab.clock.advance(500)
    assert oldest_unhandled() >= 490
    lab.bus.pause_workflow(workflow)
    assert oldest_unhandled() < 490


# --- health ---


def test_health_is_degraded_by_what_waits_for_a_person(lab: Lab) -> None:
    assert not check_dead_letters().degraded
    assert not check_parked().degraded
    parked(lab)
    assert check_dead_letters().degraded
    assert check_parked().degraded
    assert check_parked().ok
    lab.configure(degraded_dead_letters=2, degraded_parked=2)
    assert not check_dead_letters().degraded
    assert not check_parked().degraded


# --- the log ---


@pytest.mark.parametrize("leased", [False, True], ids=["transactional", "leased"])
def test_each_outcome_is_logged_once_with_all_that_names_it(
    lab: Lab, leased: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="nexus.outcomes")
    lab.agent("innocent", leased=leased)
    other = lab.workflow()
    lab.send(other, "innocent")
    workflow = parked(lab, leased=leased)
    records = [record for record in caplog.records if record.name == "nexus.outcomes"]
    assert [record.levelname for record in records] == ["WARNING", "ERROR", "ERROR"]
    retry, stopped, dead = records
    message = message_id_of(DeadLetter.objects.get().delivery_id)  # type: ignore[arg-type]
    for attempt, record in ((1, retry), (2, dead)):
        text = record.getMessage()
        for part in (str(workflow), str(message), "bad", f"attempt {attempt}", "ValueError", "this is the cause", "#1"):
            assert part in text
        structured = record.nexus  # type: ignore[attr-defined]
        assert structured["workflow"] == str(workflow)
        assert structured["attempt"] == attempt
        assert structured["error"] == "ValueError"
    assert str(workflow) in stopped.getMessage()
    assert "parked" in stopped.getMessage()


# --- signals ---


def test_signals_are_sent_after_the_commit(lab: Lab) -> None:
    heard: list[Any] = []

    def hear(sender: Any, notice: Any, **_: Any) -> None:
        assert not connection.in_atomic_block
        heard.append(notice)

    def broken(sender: Any, **_: Any) -> None:
        raise RuntimeError("a receiver of somebody's")

    for signal in (dead_lettered, workflow_parked):
        signal.connect(broken)
        signal.connect(hear)
    try:
        workflow = parked(lab)
        lab.broker.publish(_garbage())
        lab.work(2)
    finally:
        for signal in (dead_lettered, workflow_parked):
            signal.disconnect(broken)
            signal.disconnect(hear)
    dead, stopped, unknown = heard
    assert (dead.workflow_id, dead.agent, dead.attempts, dead.error) == (workflow, "bad", 2, "ValueError")
    assert dead.dead_letter == DeadLetter.objects.get(workflow=workflow).pk
    assert stopped.workflow_id == workflow
    assert unknown.workflow_id is None
    assert unknown.dead_letter == DeadLetter.objects.get(workflow=None).pk


def _garbage() -> Any:
    return OutgoingMessage(
        id="x", body=b"no envelope", exchange="", routing_key=TRANSACTIONAL_QUEUE, headers={"task": "messaging.deliver"}
    )


# --- mail and webhook ---


class Hook:
    """A server that takes what is posted to it."""

    def __init__(self) -> None:
        self.status = 200
        self.posted: list[dict[str, Any]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_mail_and_webhook_tell_of_both(lab: Lab, hook: Hook) -> None:
    lab.configure(alert_mail="ops@example.com, boss@example.com", alert_webhook=hook.url)
    workflow = parked(lab)
    assert alerting.send_due() == 2
    (sent,) = mail.outbox
    assert sent.to == ["ops@example.com", "boss@example.com"]
    assert "this is the cause" in sent.body
    assert [alert["kind"] for alert in hook.posted[0]["alerts"]] == ["dead letter", "workflow parked"]
    assert {alert["workflow_id"] for alert in hook.posted[0]["alerts"]} == {str(workflow)}
    assert not Alert.objects.exists()
    assert alerting.send_due() == 0


def test_a_hook_that_fails_is_tried_again_and_given_up_in_the_end(
    lab: Lab, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    lab.configure(alert_webhook=hook.url)
    hook.status = 500
    life_cycle.park(lab.workflow(), "why")
    for attempt in range(1, alerting.MAX_ATTEMPTS):
        assert alerting.send_due() == 0
        assert Alert.objects.get().attempts == attempt
        assert alerting.send_due() == 0, "not before its time"
        assert len(hook.posted) == attempt
        Alert.objects.update(due_at=timezone.now())
    alerting.send_due()
    assert not Alert.objects.exists()
    assert "given up" in caplog.text


def test_a_rolled_back_transaction_tells_nobody(lab: Lab, hook: Hook) -> None:
    lab.configure(alert_webhook=hook.url)
    workflow = lab.workflow()

    def parks(message: Envelope, context: HandlerContext) -> None:
        life_cycle.park(workflow, "why")
        raise TerminalError("no")

    lab.agent("a", parks)
    lab.send(lab.workflow(), "a")
    lab.settle()
    assert Workflow.objects.get(pk=workflow).status == "running"
    assert not Alert.objects.filter(content__contains=str(workflow)).exists()


def test_without_settings_nothing_is_written(lab: Lab) -> None:
    parked(lab)
    assert not Alert.objects.exists()


# --- the admin and the commands ---


def test_a_killed_worker_looks_dead(lab: Lab, admin_client: Client) -> None:
    now = timezone.now()
    for host, heartbeat, stopped in (
        ("killed", now - timedelta(minutes=5), None),
        ("alive", now, None),
        ("ended", now, now),
    ):
        WorkerStatus.objects.create(
            id=uuid4(), host=host, pid=1, thread="t", started_at=now, heartbeat_at=heartbeat, stopped_at=stopped
        )
    page = admin_client.get("/admin/nexus/workerstatus/").content.decode()
    for words in ("silent: killed, or hangs", "at work", "stopped"):
        assert page.count(f">{words}<") == 1


def test_a_traceback_shows_its_last_line(lab: Lab, admin_client: Client) -> None:
    workflow = parked(lab)
    message = message_id_of(DeadLetter.objects.get().delivery_id)  # type: ignore[arg-type]
    for page in (
        f"/admin/nexus/message/{message}/change/",
        "/admin/nexus/deadletter/",
        f"/admin/nexus/workflow/{workflow}/change/",
    ):
        assert "ValueError: this is the cause" in admin_client.get(page).content.decode()


def test_commands_print_json(lab: Lab) -> None:
    workflow = parked(lab)
    letter = DeadLetter.objects.get().pk

    def said(*arguments: str) -> Any:
        output = StringIO()
        call_command(*arguments, "--json", stdout=output)
        return json.loads(output.getvalue())

    assert said("nexus_workflows", "list")[0]["workflow"] == str(workflow)
    assert said("nexus_replay", "--all", "--dry-run")["ids"] == [letter]
    assert said("nexus_discard", str(letter)) == [{"dead_letter": letter, "ok": True, "detail": "discarded"}]
    assert said("nexus_workflows", "pause", str(workflow))[0]["ok"] is True
    assert said("nexus_prune", "--days", "30") == {"messages": 0, "deliveries": 0, "workflows": 0}
