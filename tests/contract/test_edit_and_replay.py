"""A dead letter's message with other data: in its position, signed, written down, and never handled twice."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from messaging.api import Envelope, HandlerContext, SequenceTracker, TerminalError
from messaging.core.errors import EnvelopeError, ReplayError
from messaging.core.ids import message_id_of
from messaging.models import DeadLetter, Delivery, Entrance, Message, OperatorAct, Workflow
from messaging.operators.acts import Actor
from messaging.operators.editing import edit_and_replay
from messaging.operators.verifying import verify_log
from tests.support.lab import Lab

ANN = Actor("ann", Entrance.ADMIN)


def refuse_debts(message: Envelope, context: HandlerContext) -> None:
    if message.data["amount"] < 0:
        raise TerminalError(f"an amount of {message.data['amount']}")


@pytest.fixture(autouse=True)
def switched_on(lab: Lab) -> None:
    lab.configure(edit_and_replay="on")


def pay(lab: Lab, workflow: UUID, *amounts: int, to: str = "clerk") -> None:
    for amount in amounts:
        lab.send(workflow, to, {"amount": amount})
    lab.settle()


def open_letter() -> DeadLetter:
    return DeadLetter.objects.get(status="open")


def handled_data(workflow: UUID, lab: Lab, agent: str = "clerk") -> list[Any]:
    sequences = lab.ledger.handled(workflow, agent)
    rows = {row.sequence: row for row in Message.objects.filter(workflow=workflow)}
    return [json.loads(bytes(rows[number].envelope))["data"]["amount"] for number in sequences]


def test_it_is_handled_in_the_position_of_the_first(lab: Lab) -> None:
    """Edited wrongly once, and rightly then: what stood behind it waits all the time."""
    lab.agent("clerk", refuse_debts)
    workflow = lab.workflow()
    pay(lab, workflow, 1, -2, 3, 4)
    first = open_letter()
    edit_and_replay(first.pk, {"amount": -20}, actor=ANN, reason="a guess")
    lab.settle()
    second = open_letter()
    assert (second.detail.splitlines()[-1].endswith("-20"), handled_data(workflow, lab)) == (True, [1])
    sent = edit_and_replay(second.pk, {"amount": 2}, actor=ANN, reason="the sign was wrong")
    lab.settle()
    assert handled_data(workflow, lab) == [1, 2, 3, 4]
    assert Workflow.objects.get().status == "running"
    assert list(verify_log()) == []
    assert SequenceTracker(workflow).missing() == {}
    here = Delivery.objects.filter(position=2).order_by("edition").values_list("edition", "state")
    assert list(here) == [(0, "processed"), (1, "replaced"), (2, "replaced")]
    edited = Message.objects.get(pk=sent.id)
    assert (edited.source, edited.subject, edited.sequence) == ("web", "clerk", 6)
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status, second.replaced_by) == ("replaced", "replaced", sent.id)
    one, two = OperatorAct.objects.order_by("pk")
    assert (one.who, one.action, one.key, two.reason) == ("ann", "edit and replay", str(first.pk), "the sign was wrong")
    assert second.delivery_id is not None
    changed = [(value or {})["message"] for value in (two.before, two.after)]
    assert changed == [str(message_id_of(second.delivery_id)), str(sent.id)]
    with pytest.raises(ReplayError, match="replaced already"):
        edit_and_replay(second.pk, {"amount": 5}, actor=ANN, reason="again")


def test_a_late_copy_of_the_first_is_a_duplicate(lab: Lab) -> None:
    lab.agent("clerk", refuse_debts)
    workflow = lab.workflow()
    lab.send(workflow, "clerk", {"amount": -1})
    copies = lab.take_offered()
    lab.put(copies)
    lab.work()
    edit_and_replay(open_letter().pk, {"amount": 1}, actor=ANN, reason="the sign")
    lab.put(copies)
    lab.settle()
    lab.put(copies)
    lab.settle()
    assert handled_data(workflow, lab) == [1]
    assert not DeadLetter.objects.filter(status="open").exists()


def test_only_the_member_of_a_group_that_refused_it_gets_it(lab: Lab) -> None:
    lab.agent("clerk", refuse_debts)
    lab.agent("archive")
    lab.bus.create_group("office")
    for name in ("clerk", "archive"):
        lab.bus.add_member("office", name)
    workflow = lab.workflow(failure_policy="skip")
    pay(lab, workflow, 1, -2, 3, to="office")
    edit_and_replay(open_letter().pk, {"amount": 2}, actor=ANN, reason="the sign")
    lab.settle()
    assert sorted(handled_data(workflow, lab)) == [1, 2, 3]
    assert handled_data(workflow, lab, "archive") == [1, -2, 3]
    assert list(verify_log()) == []


def test_what_may_not_be_sent_changes_nothing(lab: Lab) -> None:
    lab.agent("clerk", refuse_debts)
    workflow = lab.workflow()
    pay(lab, workflow, -1, 2)
    letter = open_letter()
    before = list(Delivery.objects.order_by("pk").values())
    with pytest.raises(EnvelopeError):
        edit_and_replay(letter.pk, {"amount": "x" * 300_000}, actor=ANN, reason="long")
    with pytest.raises(ReplayError, match="nothing was changed"):
        edit_and_replay(letter.pk, {"amount": -1}, actor=ANN, reason="none")
    lab.configure(edit_and_replay="off")
    with pytest.raises(ReplayError, match="switched off"):
        edit_and_replay(letter.pk, {"amount": 1}, actor=ANN, reason="off")
    assert list(Delivery.objects.order_by("pk").values()) == before
    assert (open_letter().pk, Message.objects.count(), OperatorAct.objects.count()) == (letter.pk, 2, 0)


def test_what_somebody_changed_in_the_log_is_not_signed_again(lab: Lab) -> None:
    lab.agent("clerk", refuse_debts)
    pay(lab, lab.workflow(), -1)
    message = Message.objects.get()
    body = bytes(message.envelope).replace(b'"web"', b'"boss"')
    Message.objects.filter(pk=message.pk).update(envelope=body, source="boss")
    with pytest.raises(ReplayError, match="cannot be edited"):
        edit_and_replay(open_letter().pk, {"amount": 1}, actor=ANN, reason="the sign")


def test_acts_are_never_changed(lab: Lab) -> None:
    lab.agent("clerk", refuse_debts)
    pay(lab, lab.workflow(), -1)
    edit_and_replay(open_letter().pk, {"amount": 1}, actor=ANN, reason="the sign")
    act = OperatorAct.objects.get()
    act.who = "bob"
    for change in (act.save, act.delete, OperatorAct.objects.all().delete, lambda: OperatorAct.objects.update(who="b")):
        with pytest.raises(TypeError, match="never changed"):
            change()
    if connection.vendor == "postgresql":
        for sql in ("UPDATE nexus_operator_act SET who = 'bob'", "DELETE FROM nexus_operator_act"):
            with pytest.raises(Exception, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(sql)
    assert OperatorAct.objects.get().who == "ann"
