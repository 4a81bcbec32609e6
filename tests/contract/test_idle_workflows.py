"""Workflows in which nothing is said: parked, cancelled or completed, as each was started with."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from messaging.api import EnvelopeError
from messaging.core.messages import WorkflowOptions
from messaging.models import Delivery, DeliveryState, Workflow
from tests.support.lab import Lab

IDLE_AFTER = 60.0


def status(lab: Lab, workflow: Any) -> str:
    return lab.bus.workflow_status(workflow)


@pytest.mark.parametrize(("policy", "ended"), [("park", "parked"), ("cancel", "cancelled"), ("complete", "completed")])
def test_a_silent_workflow_ends_as_its_policy_says(lab: Lab, policy: str, ended: str) -> None:
    lab.agent("a")
    silent = lab.workflow(idle_timeout=IDLE_AFTER, idle_policy=policy)
    patient = lab.workflow()
    lab.relay_turn(after=IDLE_AFTER - 10)
    lab.send(silent, "a")
    lab.settle(step=0.1)
    lab.relay_turn(after=IDLE_AFTER - 20)
    assert status(lab, silent) == "running", "it spoke since"
    lab.relay_turn(after=IDLE_AFTER)
    assert (status(lab, silent), status(lab, patient)) == (ended, "running")
    if policy != "complete":
        assert "nothing was said in it for 60 s" in Workflow.objects.get(pk=silent).status_reason
    lab.relay_turn(after=IDLE_AFTER * 3)
    assert status(lab, silent) == ended


def test_what_was_parked_for_silence_may_go_on_and_be_silent_anew(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow(idle_timeout=IDLE_AFTER)
    lab.relay_turn(after=IDLE_AFTER + 1)
    assert status(lab, workflow) == "parked"
    lab.bus.resume_workflow(workflow)
    lab.relay_turn(after=IDLE_AFTER / 2)
    assert status(lab, workflow) == "running"
    lab.relay_turn(after=IDLE_AFTER)
    assert status(lab, workflow) == "parked"


def test_one_that_is_paused_or_waits_for_a_time_or_works_is_not_idle(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("slow", leased=True)
    paused, later, working = (lab.workflow(idle_timeout=IDLE_AFTER) for _ in range(3))
    lab.bus.pause_workflow(paused)
    lab.bus.send(later, "a", "test.message", sender="web", delay=IDLE_AFTER * 3)
    lab.send(working, "slow")
    lab.relay_turn()
    leased_until = timezone.now() + timedelta(seconds=IDLE_AFTER * 2)
    Delivery.objects.filter(workflow=working).update(state=DeliveryState.LEASED, available_at=leased_until)
    lab.relay_turn(after=IDLE_AFTER + 1)
    assert [status(lab, one) for one in (paused, later, working)] == ["paused", "running", "running"]
    lab.bus.resume_workflow(paused)
    Delivery.objects.filter(workflow=working).update(state=DeliveryState.PROCESSED, settled_at=timezone.now())
    lab.relay_turn(after=IDLE_AFTER + 1)
    assert [status(lab, one) for one in (paused, later, working)] == ["parked", "running", "parked"]


@pytest.mark.parametrize(
    "options",
    [{"idle_timeout": value} for value in (0, 0.5, -1, "5", float("nan"), 1e12, True)]
    + [{"idle_policy": value} for value in ("", "stop", 5)],
    ids=str,
)
def test_values_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(EnvelopeError, match="idle_"):
        WorkflowOptions(name="x", **options)
