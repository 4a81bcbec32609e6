"""Gaps that the log itself has, and what the workflow's gap policy makes of them."""

from __future__ import annotations

from uuid import UUID

import pytest

from messaging.api import Envelope, HandlerContext
from messaging.models import DeadLetter, DeadLetterStatus, Delivery, Message, Workflow, WorkflowStatus
from messaging.recovery import gaps
from tests.support.lab import Lab

pytestmark = pytest.mark.django_db(transaction=True)


def with_hole(lab: Lab, policy: str) -> UUID:
    """A workflow in which the second of four messages to agent ``a`` has vanished from the log."""
    workflow = lab.bus.start_workflow("gap", gap_policy=policy)
    sent = [lab.send(workflow, "a") for _ in range(4)]
    Delivery.objects.filter(message_id=sent[1]).delete()
    Message.objects.filter(pk=sent[1]).delete()
    return workflow


def settle_after_timeout(lab: Lab) -> None:
    lab.publish()
    lab.work()
    lab.clock.advance(61.0)
    lab.relay.turn()
    lab.settle()


def test_before_its_time_a_gap_only_waits(lab: Lab) -> None:
    lab.agent("a")
    workflow = with_hole(lab, "skip")
    lab.publish()
    lab.work()
    assert gaps.settle_missing() == 0
    assert lab.ledger.handled(workflow, "a") == [1]


def test_park_says_what_is_missing(lab: Lab) -> None:
    lab.agent("a")
    workflow = with_hole(lab, "park")
    settle_after_timeout(lab)
    row = Workflow.objects.get(pk=workflow)
    assert row.status == WorkflowStatus.PARKED
    assert "a waits for position 2, which the log does not have" in row.status_reason
    assert lab.ledger.handled(workflow, "a") == [1]


def test_skip_leaves_a_tombstone_and_goes_on(lab: Lab) -> None:
    lab.agent("a")
    workflow = with_hole(lab, "skip")
    settle_after_timeout(lab)
    assert lab.ledger.handled(workflow, "a") == [1, 3, 4]
    tombstone = DeadLetter.objects.get(workflow=workflow)
    assert tombstone.status == DeadLetterStatus.DISCARDED
    assert "position 2" in tombstone.detail


def test_resend_asks_the_sender_once_and_then_parks(lab: Lab) -> None:
    asked: list[object] = []

    def listen(message: Envelope, context: HandlerContext) -> None:
        asked.append((message.type, message.data))

    lab.agent("a")
    lab.agent("producer", listen)
    workflow = lab.bus.start_workflow("gap", gap_policy="resend")
    sent = [lab.bus.send(workflow, "a", "step", sender="producer").id for _ in range(3)]
    Delivery.objects.filter(message_id=sent[1]).delete()
    lab.publish()
    lab.work()
    lab.relay_turn(after=61.0)
    lab.relay_turn(after=5.0)
    lab.work(3)
    assert asked == [("nexus.resend", {"agent": "a", "first": 2, "last": 2})]
    assert Workflow.objects.get(pk=workflow).status == WorkflowStatus.RUNNING
    settle_after_timeout(lab)
    assert len(asked) == 1
    assert Workflow.objects.get(pk=workflow).status == WorkflowStatus.PARKED


def test_a_sender_that_is_a_program_is_asked_through_the_log(lab: Lab) -> None:
    lab.agent("a")
    workflow = with_hole(lab, "resend")
    settle_after_timeout(lab)
    assert Message.objects.filter(workflow=workflow, type="nexus.resend", subject="web").count() == 1


def test_a_healthy_mailbox_has_no_gap_however_long_it_waits(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.bus.start_workflow("no gap", gap_policy="skip")
    for _ in range(3):
        lab.send(workflow, "a")
    lab.clock.advance(1000.0)
    assert gaps.settle_missing() == 0
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3]
