"""The end of a transaction that handled a message: all of it or nothing, however few round trips it takes."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone

from messaging.api import Envelope, HandlerContext
from messaging.log import committing
from messaging.models import Delivery, DeliveryState, Mailbox, Message, ProcessedMessage, Workflow
from messaging.receiving.event_loop import database_threads
from tests.support.lab import Lab

pytestmark = pytest.mark.django_db(transaction=True)


def converse(lab: Lab, beside: Callable[[Envelope, HandlerContext], None], *, legs: int = 8) -> UUID:
    """Two agents count down by answering each other; ``beside`` is called by the handlers, too."""

    def answer(message: Envelope, context: HandlerContext) -> None:
        beside(message, context)
        if message.data:
            context.send(message.source if message.source != "web" else "pong", "test.message", message.data - 1)

    for name in ("ping", "pong", "third"):
        lab.agent(name, answer)
    workflow = lab.workflow()
    lab.send(workflow, "ping", legs)
    lab.settle()
    return workflow


def assert_settled(workflow: UUID, messages: int) -> None:
    """Numbers without holes, every delivery handled once, every counter where it belongs."""
    sequences = Message.objects.filter(workflow=workflow).order_by("sequence").values_list("sequence", flat=True)
    assert list(sequences) == list(range(1, messages + 1))
    assert Workflow.objects.get(pk=workflow).sequence == messages
    assert ProcessedMessage.objects.count() == messages
    assert Delivery.objects.filter(workflow=workflow, state=DeliveryState.PROCESSED).count() == messages
    for mailbox in Mailbox.objects.filter(workflow=workflow):
        assert mailbox.sent == mailbox.processed == Delivery.objects.filter(mailbox=mailbox).count()


def test_answers(lab: Lab) -> None:
    assert_settled(converse(lab, lambda message, context: None), 9)


def test_a_handler_that_also_uses_the_bus(lab: Lab) -> None:
    """What it sends so is counted at once, and what the transaction read of the mailboxes is of the past."""

    def use_bus(message: Envelope, context: HandlerContext) -> None:
        if message.data and message.source != "web":
            lab.bus.send(message.workflow_id, message.source, "test.message", sender=context.agent)

    assert_settled(converse(lab, use_bus, legs=4), 8)


def test_a_message_to_oneself(lab: Lab) -> None:
    def to_itself(message: Envelope, context: HandlerContext) -> None:
        if message.data == 3:
            context.send(context.agent, "test.message", 0)

    assert_settled(converse(lab, to_itself, legs=4), 6)


def test_what_waits_for_the_commit_sees_it(lab: Lab) -> None:
    seen: list[bool] = []

    def wait(message: Envelope, context: HandlerContext) -> None:
        def look() -> None:
            elsewhere = database_threads.submit(
                lambda: Delivery.objects.filter(pk=context.delivery_id, state=DeliveryState.PROCESSED).exists()
            )
            seen.append(elsewhere.result(60) and not connection.in_atomic_block)

        transaction.on_commit(look)

    assert_settled(converse(lab, wait), 9)
    assert seen == [True] * 9


def test_a_processed_id_from_elsewhere_takes_everything_back(lab: Lab) -> None:
    disturbed: list[UUID] = []
    calls: list[UUID] = []

    def disturb(message: Envelope, context: HandlerContext) -> None:
        calls.append(message.message_id)
        if message.data in (2, 5) and message.message_id not in disturbed:
            disturbed.append(message.message_id)
            ProcessedMessage.objects.create(
                message_id=message.message_id, consumer=context.agent, expires_at=timezone.now()
            )

    assert_settled(converse(lab, disturb), 9)
    assert len(disturbed) == 2
    assert all(calls.count(one) == 2 for one in disturbed)  # the first time was rolled back, row and answer too


def test_what_the_commit_refuses_takes_everything_back(lab: Lab, database_vendor: str) -> None:
    if database_vendor != "postgres":
        pytest.skip("nothing is deferred")
    refused: list[UUID] = []

    def refer_to_nothing(message: Envelope, context: HandlerContext) -> None:
        if message.data in (2, 5) and message.message_id not in refused:
            refused.append(message.message_id)
            Mailbox.objects.create(workflow_id=message.message_id, agent="nobody")  # looked at by COMMIT

    assert_settled(converse(lab, refer_to_nothing), 9)
    assert len(refused) == 2


def test_a_connection_that_is_cut_before_the_end(lab: Lab, database_vendor: str) -> None:
    if database_vendor != "postgres":
        pytest.skip("SQLite has no connections to cut")
    cut: list[UUID] = []

    def terminate(pid: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 60000)", [pid])

    def lose(message: Envelope, context: HandlerContext) -> None:
        if message.data in (2, 5) and message.message_id not in cut:
            cut.append(message.message_id)
            connection.ensure_connection()
            pid = connection.connection.info.backend_pid
            database_threads.submit(lambda: terminate(pid)).result(60)

    assert_settled(converse(lab, lose), 9)
    assert len(cut) == 2


def test_within_another_transaction_nothing_is_committed(lab: Lab, database_vendor: str) -> None:
    with transaction.atomic():
        assert committing.may_commit() is (database_vendor == "postgres")
        with transaction.atomic():
            assert not committing.may_commit()
        with transaction.atomic(savepoint=False):
            assert not committing.may_commit()
    assert not committing.may_commit()
