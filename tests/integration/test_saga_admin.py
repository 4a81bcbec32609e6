"""Sagas and timers in the admin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse

from messaging.api import Participant, Saga, Sagas, StepFailed, StepRequest, registry, schedule
from messaging.models import Schedule, Timer
from tests.support.lab import Lab


@pytest.fixture
def participant() -> Iterator[None]:
    shop = Participant("shop").register()

    @shop.does("shop.do")
    def do(request: StepRequest) -> None:
        if request.step == "<b>last<b>":
            raise StepFailed("<i>sold out</i>")

    @shop.undoes("shop.undo")
    def undo(request: StepRequest) -> None:
        raise StepFailed("cannot")

    yield
    registry.remove("shop")


@pytest.fixture
def parked(lab: Lab, participant: None) -> UUID:
    sagas = Sagas(lab.bus)
    saga = sagas.start(
        Saga("shopping")
        .step("first", do=("shop", "shop.do"), undo=("shop", "shop.undo"), undo_retries=0)
        .step("<b>last<b>", do=("shop", "shop.do"))
    )
    lab.until(lambda: sagas.status(saga).status == "parked")
    return saga


def test_a_saga_is_drawn_and_an_operator_ends_it(lab: Lab, parked: UUID, admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:nexus_sagarun_change", args=[parked])).content.decode()
    assert "<svg" in page
    assert "first: parked (cannot)" in page
    assert "&lt;b&gt;last&lt;b&gt;" in page
    assert "<b>last<b>" not in page
    assert "undo_started" in page
    assert re.search(r"first: parked \(cannot\), from [-\d]+ [:.\d]+ to ", page)
    changelist = reverse("admin:nexus_sagarun_changelist")
    assert "shopping" in admin_client.get(changelist).content.decode()

    chosen = {"action": "skip", "_selected_action": str(parked)}
    asked = admin_client.post(changelist, chosen).content.decode()
    assert "Reason" in asked
    admin_client.post(changelist, {**chosen, "confirmed": "1", "reason": "by hand"}, follow=True)
    sagas = Sagas(lab.bus)
    lab.until(lambda: sagas.status(parked).ended)
    assert sagas.status(parked).status == "compensated"
    assert "admin" in {line.actor for line in sagas.journal(parked)}
    page = admin_client.get(reverse("admin:nexus_journalentry_changelist")).content.decode()
    assert "skipped" in page


def test_timers_and_schedules_are_listed_and_cancelled(lab: Lab, admin_client: Client) -> None:
    lab.agent("a")
    receipt = lab.bus.send(lab.workflow(), "a", "test.message", {"text": "later"}, sender="web", delay=60)
    schedule("report", recipient="a", type="test.message", sender="web", every=60)
    for model, row in (("timer", receipt.id), ("schedule", Schedule.objects.get().pk)):
        changelist = reverse(f"admin:nexus_{model}_changelist")
        assert "test.message" in admin_client.get(changelist).content.decode()
        page = admin_client.get(reverse(f"admin:nexus_{model}_change", args=[row]))
        assert page.status_code == 200
        answer = admin_client.post(changelist, {"action": "cancel", "_selected_action": str(row)}, follow=True)
        assert answer.status_code == 200
    assert (Timer.objects.count(), Schedule.objects.count()) == (0, 0)


def test_a_person_approves_in_the_admin(lab: Lab, participant: None, admin_client: Client) -> None:
    sagas = Sagas(lab.bus)
    saga = sagas.start(Saga("shopping").approval("<b>boss<b>").wait_for("signal"))
    lab.until(lambda: sagas.status(saga).status == "waiting")
    page = admin_client.get(reverse("admin:nexus_sagarun_change", args=[saga])).content.decode()
    assert "Approve …" in page
    assert "<b>boss<b>" not in page
    changelist = reverse("admin:nexus_sagarun_changelist")
    chosen = {"action": "approve", "_selected_action": str(saga)}
    assert "Reason" in admin_client.post(changelist, chosen).content.decode()
    admin_client.post(changelist, {**chosen, "confirmed": "1", "reason": "fine"}, follow=True)
    lab.until(lambda: sagas.status(saga).awaiting == ["signal"])
    assert sagas.status(saga).results["<b>boss<b>"] == {"by": "admin", "reason": "fine"}
    answer = admin_client.post(changelist, {**chosen, "confirmed": "1", "reason": "fine"}, follow=True)
    assert "has no step that waits for a person" in answer.content.decode()
