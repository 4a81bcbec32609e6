"""Handlers that wait for one another are found, and one of them gives way."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from messaging.api import Envelope, HandlerContext, ReplyTimeout
from messaging.models import AwaitedReply, DeadLetter, Delivery, DeliveryState, Workflow, WorkflowStatus
from messaging.testing.servers.waiting import wait_until
from messaging.workflows import waiting
from tests.support.lab import Lab

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits says so at once."""
    monkeypatch.setattr(waiting, "FIRST_LOOK", 0.05)
    monkeypatch.setattr(waiting, "LOOK_EVERY", 0.05)


def run_until(lab: Lab, condition: Callable[[], bool]) -> None:
    """Publish and work, beside handlers that wait."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        lab.publish()
        lab.consumer.step()
        lab.relay_turn(after=0.0)


def asking(lab: Lab, whom: dict[str, str], failures: list[Exception]) -> Callable[[Envelope, HandlerContext], None]:
    """A handler that asks the next one and waits; the last of a chain answers."""

    def ask(message: Envelope, context: HandlerContext) -> None:
        if message.correlationid is not None:
            return  # a reply, which was waited for
        asked = whom.get(context.agent)
        if asked is not None:
            try:
                lab.bus.request(message.workflow_id, asked, "test.question", sender=context.agent, timeout=PATIENCE)
            except ReplyTimeout as error:
                failures.append(error)
                raise
        context.reply("done")

    return ask


def cast(lab: Lab, whom: dict[str, str], *others: str) -> list[Exception]:
    failures: list[Exception] = []
    handler = asking(lab, whom, failures)
    for name in {*whom, *others}:
        lab.agent(name, handler, leased=True)
    return failures


def begin(lab: Lab, agent: str, **options: str) -> UUID:
    workflow = lab.workflow(**options)
    lab.send(workflow, agent)
    return workflow


@pytest.mark.parametrize("whom", [{"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}, {"a": "a"}])
def test_the_last_of_a_circle_gives_way(lab: Lab, whom: dict[str, str]) -> None:
    failures = cast(lab, whom)
    workflow = begin(lab, "a")
    run_until(lab, lambda: DeadLetter.objects.filter(workflow=workflow).exists())
    letter = DeadLetter.objects.get(workflow=workflow)
    assert letter.error == "WaitCycle"
    assert letter.agent == sorted(whom)[-1], "the last one that asked"
    assert "wait for one another" in letter.detail
    assert all(name in letter.detail for name in whom)
    assert [type(error).__name__ for error in failures] == ["WaitCycle"]
    assert Workflow.objects.get(pk=workflow).status == WorkflowStatus.PARKED


def test_who_gives_way_does_not_depend_on_who_is_quick_to_say_that_it_waits(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = waiting.ReplyWait._tell

    def tell_late(wait: waiting.ReplyWait, context: HandlerContext) -> None:
        if context.agent == "b":
            wait_until(lambda: AwaitedReply.objects.count() == 2, PATIENCE, "a and c to say that they wait")
        tell(wait, context)

    monkeypatch.setattr(waiting.ReplyWait, "_tell", tell_late)
    cast(lab, {"a": "b", "b": "c", "c": "a"})
    workflow = begin(lab, "a")
    run_until(lab, lambda: DeadLetter.objects.filter(workflow=workflow).exists())
    assert DeadLetter.objects.get(workflow=workflow).agent == "c"


def test_a_chain_without_a_circle_is_left_alone(lab: Lab) -> None:
    failures = cast(lab, {"a": "b", "b": "c"}, "c")
    workflow = begin(lab, "a")
    run_until(lab, lambda: lab.all_processed(workflow) and lab.consumer.idle())
    assert not failures
    assert not AwaitedReply.objects.exists()


def test_two_workflows_are_no_circle(lab: Lab) -> None:
    """Each agent has a mailbox in each workflow: neither keeps the other from anything."""
    second: list[UUID] = []

    def ask(message: Envelope, context: HandlerContext) -> None:
        if message.correlationid is not None:
            return
        if context.agent == "a" and message.workflow_id == first:
            lab.bus.request(second[0], "b", "test.question", sender="a", timeout=PATIENCE)
        elif context.agent == "b":
            lab.bus.request(second[0], "a", "test.question", sender="b", timeout=PATIENCE)
        context.reply("done")

    for name in ("a", "b"):
        lab.agent(name, ask, leased=True)
    second.append(lab.workflow())
    first = begin(lab, "a")
    run_until(lab, lambda: lab.all_processed(first) and lab.all_processed(second[0]) and lab.consumer.idle())


def test_what_a_killed_handler_left_does_not_count(lab: Lab) -> None:
    """A circle of rows, of which one is of an attempt that is over."""
    cast(lab, {}, "a", "b")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.send(workflow, "b")
    a, b = Delivery.objects.filter(workflow=workflow).order_by("agent")
    Delivery.objects.filter(workflow=workflow).update(state=DeliveryState.LEASED, attempts=2)
    for mine, other, attempt in ((a, b, 2), (b, a, 1)):
        AwaitedReply.objects.create(
            delivery_id=mine.pk, request_id=other.message_id, attempt=attempt, since=timezone.now()
        )
    assert waiting.find_circle(a.pk, b.message_id) == []
    AwaitedReply.objects.update(attempt=2)
    assert [one.agent for one in waiting.find_circle(a.pk, b.message_id)] == ["a", "b"]


def test_rows_of_long_ago_are_deleted(lab: Lab) -> None:
    now = timezone.now()
    for since in (now, now - 2 * waiting.FORGOTTEN_AFTER):
        AwaitedReply.objects.create(delivery_id=uuid4(), request_id=uuid4(), attempt=1, since=since)
    assert waiting.forget_waits() == 1
    assert AwaitedReply.objects.get().since == now
