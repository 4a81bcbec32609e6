"""Sending from many threads at once, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable

from django.db import connections

from messaging.api import MailboxFull, Outgoing, SentMessage, WorkflowLimit
from messaging.models import Delivery, Mailbox, Message, Workflow
from tests.support.lab import Lab

THREADS = 8
WAIT = 90.0


def at_once(work: Callable[[int], None]) -> None:
    """Run something in eight threads that begin together; raise what any of them raised."""
    errors: list[BaseException] = []
    barrier = threading.Barrier(THREADS)

    def run(number: int) -> None:
        try:
            barrier.wait(WAIT)
            work(number)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert errors == []


def test_numbers_and_positions_have_no_holes(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("b")
    workflows = [lab.workflow() for _ in range(2)]

    def send(number: int) -> None:
        for turn in range(5):
            lab.bus.send_many(
                [
                    Outgoing(workflow_id=workflow, source="web", recipient=agent, type="test.message", data=None)
                    for workflow in (workflows if turn % 2 else workflows[::-1])
                    for agent in ("ab" if number % 2 else "ba")
                ]
            )

    at_once(send)
    for workflow in workflows:
        sequences = Message.objects.filter(workflow=workflow).order_by("sequence").values_list("sequence", flat=True)
        assert list(sequences) == list(range(1, THREADS * 10 + 1))
        for mailbox in Mailbox.objects.filter(workflow=workflow):
            positions = Delivery.objects.filter(mailbox=mailbox).order_by("message__sequence")
            assert list(positions.values_list("position", flat=True)) == list(range(1, THREADS * 5 + 1))
            assert mailbox.sent == THREADS * 5
    lab.settle()
    assert lab.ledger.doubles() == []


def test_one_deduplication_id_gives_one_message(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    receipts: list[SentMessage] = []

    def send(_: int) -> None:
        for key in ("k", "m"):
            receipts.append(lab.bus.send(workflow, "a", "test.message", sender="web", deduplication_id=key))

    at_once(send)
    assert len({receipt.id for receipt in receipts}) == Message.objects.count() == 2
    assert sum(not receipt.duplicate for receipt in receipts) == 2
    assert Mailbox.objects.get(workflow=workflow, agent="a").sent == 2


def test_one_deduplication_id_starts_one_workflow(lab: Lab) -> None:
    started: list[object] = []
    at_once(lambda _: started.append(lab.bus.start_workflow("job", deduplication_id="job-1")))
    assert len(set(started)) == Workflow.objects.count() == 1


def test_limits_hold(lab: Lab) -> None:
    lab.configure(max_backlog_per_mailbox=20)
    lab.agent("a")
    limited, unlimited = lab.workflow(max_messages=10), lab.workflow()
    refused: list[Exception] = []

    def send(_: int) -> None:
        for workflow in (limited, unlimited):
            for _ in range(4):
                try:
                    lab.send(workflow, "a")
                except (MailboxFull, WorkflowLimit) as error:
                    refused.append(error)

    at_once(send)
    assert Message.objects.filter(workflow=limited).count() == 10
    assert Message.objects.filter(workflow=unlimited).count() == 20
    assert len(refused) == THREADS * 8 - 30
    lab.settle()
    lab.send(unlimited, "a")


def test_senders_and_a_consumer_at_once(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()

    def send(_: int) -> None:
        for _ in range(10):
            lab.send(workflow, "a")

    sending = threading.Thread(target=at_once, args=(send,))
    sending.start()
    while sending.is_alive():
        lab.publish()
        lab.work()
    sending.join(WAIT)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == list(range(1, THREADS * 10 + 1))
