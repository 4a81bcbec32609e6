"""What handlers send to quick agents of their worker is handled in the same transaction, as if it had come later."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from messaging.api import Envelope, HandlerContext, RetryPolicy, TransientError
from messaging.directory import pausing
from messaging.models import (
    DeadLetter,
    Delivery,
    DeliveryState,
    Mailbox,
    Message,
    ProcessedMessage,
    Workflow,
    WorkflowStatus,
)
from messaging.operators.verifying import verify_log
from messaging.receiving.transactional import calling, execution
from tests.support.lab import Lab
from tests.support.ledger import read

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = ("ping", "pong", "third")
ONCE_MORE = RetryPolicy(max_attempts=5, base=0.01, cap=0.01)


@pytest.fixture(autouse=True)
def onward(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """All agents are known to be quick, and a busy machine ends no transaction early."""
    lab.configure(local_delivery="on", onward_seconds=60.0)
    lab.restart_consumer()
    monkeypatch.setattr(execution, "MAX_SECONDS", 60.0)
    for name in NAMES:
        monkeypatch.setitem(calling._averages, name, 0.001)


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many messages each transaction handled."""
    sizes: list[int] = []
    store = execution._Work.store

    def watch(work: Any) -> Any:
        handled = store(work)
        sizes.append(work._calls)
        return handled

    with monkeypatch.context() as patched:
        patched.setattr(execution._Work, "store", watch)
        yield sizes


def count_down(message: Envelope, context: HandlerContext) -> None:
    """Answer with one less, until nothing is left."""
    if message.data:
        context.send("pong" if context.agent == "ping" else "ping", "test.message", message.data - 1)


def begin(
    lab: Lab, data: Any, handler: Callable[[Envelope, HandlerContext], None] = count_down, **options: Any
) -> UUID:
    """Send the first message to ``ping``, through the broker."""
    for name in NAMES:
        lab.agent(name, handler, retry=ONCE_MORE)
    workflow = lab.workflow(**options)
    lab.send(workflow, "ping", data)
    lab.publish()
    return workflow


def handled(workflow: UUID) -> int:
    return Delivery.objects.filter(workflow=workflow, state=DeliveryState.PROCESSED).count()


def sound(workflow: UUID) -> None:
    """Everything of a workflow is in the log, in order, and was handled once."""
    assert list(verify_log([workflow])) == []
    entries = [entry for entry in read() if entry.workflow == workflow]
    assert len({entry.delivery for entry in entries}) == len(entries)
    deliveries = Delivery.objects.filter(workflow=workflow)
    done = deliveries.filter(state=DeliveryState.PROCESSED)
    assert {entry.delivery for entry in entries} == set(done.values_list("id", flat=True))
    for agent in NAMES:
        mine = [entry.sequence for entry in entries if entry.agent == agent]
        in_order = deliveries.filter(agent=agent, state=DeliveryState.PROCESSED).order_by("position")
        assert mine == list(in_order.values_list("message__sequence", flat=True)), agent
    for delivery in done.select_related("message"):
        assert delivery.settled_at is not None
        assert delivery.settled_at >= delivery.message.created_at
        assert ProcessedMessage.objects.filter(message_id=delivery.message_id, consumer=delivery.agent).exists()
    for mailbox in Mailbox.objects.filter(workflow=workflow):
        assert mailbox.sent == deliveries.filter(mailbox=mailbox).count()
        settled = deliveries.filter(mailbox=mailbox, state=DeliveryState.PROCESSED).count()
        assert mailbox.processed == settled
    assert Workflow.objects.get(pk=workflow).sequence == Message.objects.filter(workflow=workflow).count()


def each_by_itself(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short conversation has a transaction for each message."""
    workflow = begin(lab, 3)
    with counting(monkeypatch) as sizes:
        lab.settle()
    assert sizes == [1, 1, 1, 1]
    sound(workflow)


def test_a_conversation_is_one_transaction(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = begin(lab, 9)
    with counting(monkeypatch) as sizes:
        lab.consumer.step()
    assert sizes == [10]
    assert handled(workflow) == 10
    assert not lab.consumer._local
    sound(workflow)


def test_many_conversations_go_on_side_by_side(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    workflows = [begin(lab, legs) for legs in range(12)]
    with counting(monkeypatch) as sizes:
        lab.consumer.step()
    assert sum(sizes) == sum(range(1, 13))
    for legs, workflow in enumerate(workflows):
        assert handled(workflow) == legs + 1
        sound(workflow)


def test_it_stops_in_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.configure(onward_seconds=1e-9)
    lab.restart_consumer()
    each_by_itself(lab, monkeypatch)


@pytest.mark.parametrize("chosen", ["apart", "off"])
def test_it_can_be_switched_off(lab: Lab, monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    lab.configure(local_delivery=chosen)
    lab.restart_consumer()
    each_by_itself(lab, monkeypatch)


def test_what_cannot_be_handled_takes_nothing_along(lab: Lab) -> None:
    attempts: Counter[int] = Counter()

    def fails_twice(message: Envelope, context: HandlerContext) -> None:
        attempts[message.data] += 1
        if message.data == 2 and attempts[2] <= 3:  # once onward, twice by itself
            raise TransientError("not yet")
        count_down(message, context)

    workflow = begin(lab, 4, fails_twice)
    lab.consumer.step()
    assert handled(workflow) == 2, "what came before it"
    lab.settle()
    assert handled(workflow) == 5
    assert Delivery.objects.get(workflow=workflow, message__sequence=3).attempts == 2, (
        "what failed onward was no attempt of its own"
    )
    assert attempts[2] == 4
    sound(workflow)


def test_a_dead_letter_of_its_own(lab: Lab) -> None:
    def refuses(message: Envelope, context: HandlerContext) -> None:
        if message.data == 1:
            raise ValueError("never")
        count_down(message, context)

    workflow = begin(lab, 3, refuses)
    lab.settle()
    assert Workflow.objects.get(pk=workflow).status == WorkflowStatus.PARKED
    letter = DeadLetter.objects.get(workflow=workflow)
    assert letter.delivery is not None
    assert letter.delivery.message.sequence == 3
    assert handled(workflow) == 2
    assert len(read()) == 2


def test_handlers_see_what_they_were_sent(lab: Lab) -> None:
    seen: list[tuple[int, int, int]] = []

    def look(message: Envelope, context: HandlerContext) -> None:
        mine = Message.objects.get(pk=message.message_id)
        mailbox = Mailbox.objects.get(workflow=message.workflow_id, agent=context.agent)
        seen.append((mine.sequence, Message.objects.filter(workflow=message.workflow_id).count(), mailbox.sent))
        count_down(message, context)

    workflow = begin(lab, 4, look)
    lab.consumer.step()
    assert seen == [(1, 1, 1), (2, 2, 1), (3, 3, 2), (4, 4, 2), (5, 5, 3)]
    sound(workflow)


def test_a_block_that_is_rolled_back_takes_no_message_along(lab: Lab) -> None:
    def tries(message: Envelope, context: HandlerContext) -> None:
        try:
            with transaction.atomic():
                Workflow.objects.create(pk=message.workflow_id, name="there already")
        except Exception:  # noqa: BLE001 - what it is does not matter
            pass
        count_down(message, context)

    workflow = begin(lab, 4, tries)
    lab.consumer.step()
    assert handled(workflow) == 5
    sound(workflow)


def test_handlers_that_use_the_bus(lab: Lab) -> None:
    def by_bus(message: Envelope, context: HandlerContext) -> None:
        if message.data:
            lab.bus.send(message.workflow_id, "third", "test.message", 0, sender=context.agent)
        count_down(message, context)

    workflow = begin(lab, 6, by_bus)
    lab.settle()
    assert handled(workflow) == 7 + 6
    sound(workflow)


def test_a_paused_agent_waits(lab: Lab) -> None:
    workflow = begin(lab, 3)
    pausing.pause_agent("pong")
    try:
        lab.work()
        assert handled(workflow) == 1
        assert lab.states(workflow) == ["processed", "held"]
    finally:
        pausing.resume_agent("pong")
    lab.settle()
    sound(workflow)


def test_a_workflow_that_ends_on_its_way(lab: Lab) -> None:
    def ends(message: Envelope, context: HandlerContext) -> None:
        if message.data == 2:
            lab.bus.cancel_workflow(message.workflow_id, "enough")
        count_down(message, context)

    workflow = begin(lab, 4, ends)
    lab.settle()
    assert lab.states(workflow) == ["processed", "processed", "processed", "cancelled"]


def test_a_limit_on_its_way(lab: Lab) -> None:
    workflow = begin(lab, 9, max_messages=4)
    lab.settle()
    assert handled(workflow) == 3
    letter = DeadLetter.objects.get(workflow=workflow)
    assert letter.error == "WorkflowLimit"
    assert letter.delivery is not None
    assert letter.delivery.message.sequence == 4


def test_what_was_sent_before_with_the_same_id(lab: Lab) -> None:
    def twice(message: Envelope, context: HandlerContext) -> None:
        if message.data:
            context.send("third", "test.message", 0, deduplication_id="the same")
        count_down(message, context)

    workflow = begin(lab, 4, twice)
    lab.settle()
    assert Message.objects.filter(workflow=workflow, deduplication_id="the same").count() == 2, "one of each sender"
    sound(workflow)


def test_labels_are_remembered_on_the_way(lab: Lab) -> None:
    found: dict[int, str] = {}

    def note(message: Envelope, context: HandlerContext) -> None:
        found[message.data] = str(context.labels)
        labels = "origin:web" if message.data == 4 else None
        if message.data:
            context.send("pong" if context.agent == "ping" else "ping", "test.message", message.data - 1, labels=labels)

    workflow = begin(lab, 5, note)
    lab.consumer.step()
    assert found == {5: "", 4: "", 3: "origin:web", 2: "origin:web", 1: "origin:web", 0: "origin:web"}
    known = Mailbox.objects.filter(workflow=workflow).values_list("agent", "labels")
    assert dict(known) == {"ping": "origin:web", "pong": "origin:web"}
    sound(workflow)


def test_what_a_program_gets_is_done_at_once(lab: Lab) -> None:
    """Nobody handles it, so its mailbox moves on with it; the program's mailbox may be known to the transaction."""

    def reply(message: Envelope, context: HandlerContext) -> None:
        context.send("web", "test.message", 0)

    workflow = begin(lab, 1, reply)
    lab.consumer.step()
    lab.send(workflow, "ping", 2)
    lab.publish()
    lab.consumer.step()
    web = Mailbox.objects.get(workflow=workflow, agent="web")
    assert (web.sent, web.processed) == (2, 2)


def test_what_is_judged_waits_for_its_verdict(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.configure(verification_rules="default")
    each_by_itself(lab, monkeypatch)


def test_states_go_along(lab: Lab) -> None:
    totals: list[int] = []

    def add(message: Envelope, context: HandlerContext) -> None:
        context.state["sum"] = context.state.get("sum", 0) + message.data
        totals.append(context.state["sum"])
        count_down(message, context)

    begin(lab, 5, add)
    lab.consumer.step()
    assert totals == [5, 4, 8, 6, 9, 6]


def plan(source: random.Random, depth: int) -> list[dict[str, Any]]:
    """What the handler of a message is to do, and those of what it sends, and so on."""
    steps: list[dict[str, Any]] = []
    for _ in range(source.choice([0, 1, 1, 1, 2, 3]) if depth else 0):
        how = source.choice(["send", "send", "send", "bus", "look", "fail", "group", "labels", "once", "later"])
        steps.append({"how": how, "to": source.choice(NAMES), "then": plan(source, depth - 1), "key": source.random()})
    return steps


def following(lab: Lab) -> Callable[[Envelope, HandlerContext], None]:
    """A handler that does what its message says."""
    failed: set[float] = set()

    def follow(message: Envelope, context: HandlerContext) -> None:
        for step in message.data:
            then: tuple[str, str, Any] = (step["to"], "test.message", step["then"])
            match step["how"]:
                case "bus":
                    lab.bus.send(message.workflow_id, *then, sender=context.agent)
                case "look":
                    assert Message.objects.filter(pk=message.message_id).exists()
                    context.send(*then)
                case "fail":
                    if step["key"] not in failed:
                        failed.add(step["key"])
                        raise TransientError("the first time")
                    context.send(*then)
                case "group":
                    context.send("all", *then[1:])
                case "labels":
                    context.send(*then, labels="origin:web")
                case "once":
                    context.send(*then, deduplication_id=str(step["key"]))
                case "later":
                    context.send(*then, delay=1.0)
                case _:
                    context.send(*then)

    return follow


def outcome(workflow: UUID) -> Counter[tuple[str, str, str]]:
    """(sender, agent, data) of everything that was handled in a workflow."""
    done = Delivery.objects.filter(workflow=workflow, state=DeliveryState.PROCESSED)
    return Counter(
        (source, agent, bytes(body).partition(b'"data":')[2].decode())
        for source, agent, body in done.values_list("message__source", "agent", "message__envelope")
    )


@pytest.mark.parametrize("seed", range(6))
def test_random_work_has_the_same_results_onward_and_apart(lab: Lab, seed: int) -> None:
    print(f"seed {seed}")
    source = random.Random(seed)
    plans = [plan(source, 4) for _ in range(4)]
    lab.bus.create_group("all")
    results: list[list[Counter[tuple[str, str, str]]]] = []
    for chosen in ("on", "apart"):
        lab.configure(local_delivery=chosen)
        lab.restart_consumer()
        handler = following(lab)
        for name in NAMES:
            lab.agent(name, handler, retry=ONCE_MORE)
            lab.bus.add_member("all", name)
        workflows = [lab.workflow() for _ in plans]
        for workflow, data in zip(workflows, plans, strict=True):
            lab.send(workflow, "ping", data)
        for _ in range(5):  # what is sent later may send later
            lab.settle(step=2.0)
            lab.relay_turn(after=2.0)
        lab.settle(step=2.0)
        for workflow in workflows:
            assert lab.all_processed(workflow)
            sound(workflow)
        results.append([outcome(workflow) for workflow in workflows])
    for together, by_itself in zip(*results, strict=True):
        assert together - by_itself == by_itself - together == Counter()
