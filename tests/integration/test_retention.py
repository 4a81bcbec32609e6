"""Pruning: what is old and done goes, what anybody may still need stays."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from messaging.api import ConfigurationError, Envelope, HandlerContext, TerminalError
from messaging.core.envelope import parse_envelope
from messaging.models import AgentState, Delivery, Mailbox, Message, ProcessedMessage, Workflow
from messaging.recovery.retention import prune_messages
from tests.support.lab import Lab

pytestmark = pytest.mark.django_db(transaction=True)

WEEK = timedelta(days=7)


def prune(**options: object) -> tuple[int, int, int]:
    done = prune_messages(WEEK, now=timezone.now() + timedelta(days=8), **options)  # type: ignore[arg-type]
    return done.messages, done.deliveries, done.workflows


def handled(lab: Lab, count: int = 3) -> UUID:
    lab.agent("a")
    workflow = lab.workflow()
    for _ in range(count):
        lab.send(workflow, "a")
    lab.publish()
    lab.settle()
    return workflow


def test_what_is_old_and_handled_goes_and_the_workflow_goes_on(lab: Lab) -> None:
    workflow = handled(lab)
    assert prune() == (3, 3, 0)
    assert not Message.objects.exists()
    assert not Delivery.objects.exists()
    assert not ProcessedMessage.objects.exists()
    lab.send(workflow, "a")
    lab.publish()
    lab.settle()
    assert Mailbox.objects.get(workflow=workflow).processed == 4


def test_what_is_young_stays(lab: Lab) -> None:
    handled(lab)
    assert prune_messages(WEEK).messages == 0
    assert Message.objects.count() == 3


def test_what_is_not_handled_stays_however_old(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    sent = [lab.send(workflow, "a") for _ in range(2)]
    assert prune() == (0, 0, 0)
    lab.publish()
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert Message.objects.filter(pk__in=sent).count() == 2


def test_a_dead_letter_keeps_its_message_until_it_is_resolved(lab: Lab) -> None:
    def refuse(message: Envelope, context: HandlerContext) -> None:
        raise TerminalError("no")

    lab.agent("a", refuse)
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.publish()
    lab.work(2)
    assert prune() == (0, 0, 0)
    lab.bus.cancel_workflow(workflow)
    assert prune() == (0, 0, 0)


def test_an_ended_workflow_goes_with_its_last_message(lab: Lab) -> None:
    workflow = handled(lab)
    lab.send(workflow, "a")
    lab.bus.cancel_workflow(workflow)
    assert prune() == (4, 4, 1)
    assert not Workflow.objects.filter(pk=workflow).exists()
    assert not Mailbox.objects.exists()


def test_what_agents_remember_goes_with_its_workflow(lab: Lab) -> None:
    def remember(message: Envelope, context: HandlerContext) -> None:
        context.state["seen"] = message.data

    lab.agent("a", remember)
    over, running = lab.workflow(), lab.workflow()
    for workflow in (over, running):
        lab.send(workflow, "a")
    lab.publish()
    lab.settle()
    lab.bus.complete_workflow(over)
    assert AgentState.objects.count() == 2
    assert prune() == (2, 2, 1)
    assert list(AgentState.objects.values_list("workflow_id", flat=True)) == [running]


def test_chunks_and_limits(lab: Lab) -> None:
    lab.configure(prune_chunk=2)
    handled(lab, 5)
    assert prune(most=3) == (3, 3, 0)
    assert prune() == (2, 2, 0)


def test_everything_is_archived_before_it_goes(lab: Lab, tmp_path: Path) -> None:
    workflow = handled(lab)
    archive = tmp_path / "archive.jsonl"
    prune(archive=archive)
    lines = [json.loads(line) for line in archive.read_text().splitlines()]
    assert [line["sequence"] for line in lines] == [1, 2, 3]
    envelope = parse_envelope(lines[0]["envelope"].encode(), max_bytes=10_000)
    assert envelope.workflow_id == workflow


def test_an_archive_that_cannot_be_written_stops_the_deletion(lab: Lab, tmp_path: Path) -> None:
    handled(lab)
    with pytest.raises(OSError, match="No such file"):
        prune(archive=tmp_path / "missing" / "archive.jsonl")
    assert Message.objects.count() == 3


def test_an_age_at_which_copies_may_be_on_their_way_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="NEXUS_REPLAY_HORIZON"):
        prune_messages(timedelta(hours=1))
    with pytest.raises(CommandError, match="--days"):
        call_command("nexus_prune", "--days", "0.1")


def test_a_copy_of_a_message_that_is_gone_changes_nothing(lab: Lab) -> None:
    workflow = handled(lab, 1)
    stored = lab.ledger.handled(workflow, "a")
    lab.send(workflow, "a")
    copies = lab.take_offered()
    lab.put(copies * 2)
    lab.work(3)
    lab.settle()
    prune()
    lab.put(copies)
    lab.work(3)
    assert lab.ledger.handled(workflow, "a") == [*stored, 2]


def test_the_command(lab: Lab) -> None:
    handled(lab)
    output = StringIO()
    call_command("nexus_prune", "--days", "7", "--dry-run", stdout=output)
    call_command("nexus_prune", "--days", "7", stdout=output)
    assert "Would be removed: 0" in output.getvalue()
    assert "Removed: 0 messages" in output.getvalue()
