"""Receiving, on both databases: what is no delivery of the log becomes a dead letter, with its raw bytes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from messaging.api import Confirmation, OutgoingMessage
from messaging.brokers.topology import DEAD_LETTER_QUEUE, MAIN_EXCHANGE, TRANSACTIONAL_QUEUE
from messaging.core.ids import delivery_id, new_message_id
from messaging.core.outcome import Outcome
from messaging.models import DeadLetter, QueueMarker
from messaging.security.signatures.keys import signing
from messaging.transport import wire
from tests.support.lab import Lab


def put(lab: Lab, body: bytes, headers: dict[str, Any], content_type: str = "application/cloudevents+json") -> None:
    confirmation = lab.broker.publish(
        OutgoingMessage(
            id=str(uuid4()),
            body=body,
            exchange=MAIN_EXCHANGE,
            routing_key=TRANSACTIONAL_QUEUE,
            headers=headers,
            content_type=content_type,
        )
    )
    assert confirmation is Confirmation.CONFIRMED


def deliver_headers(identifier: object = None, signature: str = "") -> dict[str, Any]:
    chosen = str(uuid4()) if identifier is None else identifier
    return {"task": wire.DELIVER_TASK, "id": chosen, "lang": "py", "signature": signature}


GARBAGE = {
    "undecodable": (b"\xff\xfe\x00garbage", deliver_headers(), "application/cloudevents+json", "invalid_envelope"),
    "empty": (b"", deliver_headers(), "application/cloudevents+json", "invalid_envelope"),
    "not an envelope": (b'{"a": 1}', deliver_headers(), "application/cloudevents+json", "invalid_envelope"),
    "pickle": (b"\x80\x04N.", deliver_headers(), "application/x-python-serialize", "invalid_envelope"),
    "no content type": (b"{}", deliver_headers(), "", "invalid_envelope"),
    "no headers": (b"{}", {}, "application/cloudevents+json", "unknown_task"),
    "unknown task": (b"[]", {"task": "os.system", "id": "1"}, "application/json", "unknown_task"),
    "task is a number": (b"[]", {"task": 7}, "application/json", "unknown_task"),
    "task is a list": (b"[]", {"task": [None]}, "application/json", "unknown_task"),
    "no id": (b"{}", {"task": wire.DELIVER_TASK}, "application/cloudevents+json", "unknown_delivery"),
    "id is no UUID": (b"{}", deliver_headers("nonsense"), "application/cloudevents+json", "unknown_delivery"),
    "id is a number": (b"{}", deliver_headers(5), "application/cloudevents+json", "unknown_delivery"),
    "id is a table": (b"{}", deliver_headers({"a": 1}), "application/cloudevents+json", "unknown_delivery"),
    "strange headers": (
        b"\x00",
        {
            "task": "x\x00y\ud800",
            "nan": float("nan"),
            "infinite": float("inf"),
            "nul\x00key": "a\x00b",
            "surrogate": "\ud800",
            "deep": {"a": [{"b": "\x00\ud800"}]},
            "huge": "x" * 100_000,
            "number": 5,
        },
        "text/plain",
        "unknown_task",
    ),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_becomes_a_dead_letter_and_harms_nothing(lab: Lab, name: str) -> None:
    body, headers, content_type, reason = GARBAGE[name]
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    if name == "strange headers":  # the embedded broker carries JSON only; RabbitMQ carries such headers
        received = lab.received(body, headers, content_type)
        lab.store_dead_letter(received)
        lab.publish()
        lab.work()
    else:
        put(lab, body, headers, content_type)
        lab.publish()
        assert lab.work()[Outcome.REJECTED] == 1
        lab.relay_turn()
    letter = DeadLetter.objects.get()
    assert (letter.reason, bytes(letter.body), letter.status) == (reason, body, "open")
    assert letter.detail
    if name == "strange headers":
        kept = {name: letter.headers[name] for name in ("nan", "infinite", "number", "deep", "huge")}
        deep = {"a": [{"b": "\\x00\\ud800"}]}
        assert kept == {"nan": "nan", "infinite": "inf", "number": 5, "deep": deep, "huge": "x" * 4_000}
    assert lab.ledger.handled(workflow, "a") == [1]
    assert lab.broker.queue_depth(DEAD_LETTER_QUEUE) == 0


def test_a_delivery_that_the_log_does_not_have(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    message = new_message_id()
    foreign = stored.body.replace(str(wire_id(stored.body)).encode(), str(message).encode())
    signer = signing()
    assert signer is not None
    put(lab, foreign, deliver_headers(str(delivery_id(message, 1)), signer.sign(foreign)))
    assert lab.work() == {Outcome.REJECTED: 1}
    lab.relay_turn()
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.agent, letter.message_type) == ("unknown_delivery", "a", "test.message")


def wire_id(body: bytes) -> str:
    return body.partition(b'"id":"')[2].partition(b'"')[0].decode()


@pytest.mark.parametrize("number", [0, 2, 77])
def test_a_delivery_number_that_its_message_does_not_have(lab: Lab, number: int) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    identifier = stored.id.int - 1 + number
    put(lab, stored.body, deliver_headers(f"{identifier:032x}"))
    assert lab.work() == {Outcome.REJECTED: 1}
    lab.put([stored])
    lab.work()
    assert lab.ledger.handled(workflow, "a") == [1]


def test_an_envelope_of_another_message_under_a_delivery_id(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a", "first")
    lab.send(workflow, "a", "second")
    first, second = lab.take_offered()
    put(lab, second.body, deliver_headers(str(first.id)))
    assert lab.work() == {Outcome.REJECTED: 1}
    lab.put([first, second])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]


def test_an_envelope_that_names_another_workflow(lab: Lab) -> None:
    lab.agent("a")
    workflow, other = lab.workflow(), lab.workflow()
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    put(lab, stored.body.replace(str(workflow).encode(), str(other).encode()), deliver_headers(str(stored.id)))
    lab.work()
    lab.relay_turn()
    assert lab.ledger.attempts == []
    lab.put([stored])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


MARKERS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "no time": {"queue": "transactional"},
    "no queue": {"sent_at": "2030-01-01T00:00:00+00:00"},
    "unknown queue": {"queue": "elsewhere", "sent_at": "2026-01-01T00:00:00+00:00"},
    "NUL": {"queue": "qui\x00ck", "sent_at": "2026-01-01T00:00:00+00:00"},
    "queue is a list": {"queue": ["transactional"], "sent_at": "2026-01-01T00:00:00+00:00"},
    "time is a number": {"queue": "transactional", "sent_at": 5},
    "time is nonsense": {"queue": "transactional", "sent_at": "soon"},
    "naive time": {"queue": "transactional", "sent_at": "2026-01-01T00:00:00"},
    "future": {"queue": "transactional", "sent_at": "9999-01-01T00:00:00+00:00"},
}


@pytest.mark.parametrize("name", MARKERS)
def test_a_forged_marker_is_dropped(lab: Lab, name: str) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.relay_turn()
    QueueMarker.objects.update(sent_at=timezone.now())
    put(lab, b"[[],{},{}]", {"task": wire.MARK_TASK, "id": "1", **MARKERS[name]}, "application/json")
    lab.publish()
    lab.work(2)
    assert lab.ledger.handled(workflow, "a") == [1]
    soon = timezone.now() + timedelta(seconds=1)
    assert not QueueMarker.objects.filter(seen_at__gt=soon).exists()
    assert lab.broker.queue_depth(TRANSACTIONAL_QUEUE) == 0


def test_a_marker_that_was_dead_lettered_is_no_dead_letter(lab: Lab) -> None:
    received = lab.received(b"[[],{},{}]", {"task": wire.MARK_TASK, "queue": "transactional"}, "application/json")
    lab.store_dead_letter(received)
    assert DeadLetter.objects.count() == 0


def test_what_the_broker_gave_up_and_nobody_handled_is_sent_again(lab: Lab) -> None:
    """The broker's delivery limit charges every message that a dying worker held: it says nothing about this one."""
    lab.agent("a")
    workflow = lab.workflow()
    message = lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    lab.publish([stored])
    assert lab.state_of(message) == "sent"
    lab.store_dead_letter(
        lab.received(stored.body, deliver_headers(str(stored.id), stored.signature), "application/cloudevents+json")
    )
    assert (lab.state_of(message), DeadLetter.objects.count()) == ("pending", 0)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]
    lab.store_dead_letter(
        lab.received(stored.body, deliver_headers(str(stored.id), stored.signature), "application/cloudevents+json")
    )
    assert (lab.state_of(message), DeadLetter.objects.count()) == ("processed", 0)


def test_a_corrupted_copy_does_not_take_the_message_with_it(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    message = lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    put(lab, stored.body[:-20], deliver_headers(str(stored.id)))
    lab.publisher_notes([stored])
    assert lab.work() == {Outcome.REJECTED: 1}
    lab.settle()
    assert lab.state_of(message) == "processed"
    assert DeadLetter.objects.get().reason == "invalid_envelope"


def test_bytes_of_the_log_itself_that_are_refused_become_one_dead_letter(lab: Lab) -> None:
    """Such as after the limit was lowered: sending them again and again would make a dead letter each time."""
    lab.agent("a")
    workflow = lab.workflow()
    message = lab.send(workflow, "a", "x" * 5_000)
    lab.publish()
    lab.configure(max_message_bytes=1_000)
    for _ in range(6):
        lab.work(2)
        lab.relay_turn(after=30)
    letter = DeadLetter.objects.get()
    assert (letter.reason, lab.state_of(message)) == ("invalid_envelope", "dead")
    lab.configure(max_message_bytes=100_000)
    lab.replay(letter.pk)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]
