"""Schemas at the gate, on both databases: what is sent follows its schema, handlers get what they take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from django.utils import timezone

from messaging import log
from messaging.api import CommunicationBus, Envelope, HandlerContext, SchemaViolation, TerminalError
from messaging.core.envelope import build_envelope, parse_envelope
from messaging.core.errors import SchemaError
from messaging.core.outcome import Outcome
from messaging.gate.steps import validate as step
from messaging.models import DeadLetter, Message, MessageSchema
from messaging.security.schemas import reading, upcasting
from messaging.security.schemas.current import installed_schemas
from messaging.security.schemas.deprecation import deprecated_uses
from messaging.security.schemas.uri import build_uri
from messaging.security.signatures.keys import signing
from tests.support.lab import Lab

TYPE = "test.message"


def register(version: int, **properties: Any) -> None:
    """Register a version whose properties are all required."""
    document = {"type": "object", "properties": properties, "required": [*properties]}
    MessageSchema.objects.create(type=TYPE, version=version, document=document)
    installed_schemas.forget_stored()


NUMBER, TEXT = {"type": "integer"}, {"type": "string"}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> upcasting.Upcasters:
    """No upcasters but those of the test."""
    own = upcasting.Upcasters()
    monkeypatch.setattr(reading, "upcasters", own)
    return own


class Seen:
    """What handlers got."""

    def __init__(self) -> None:
        self.data: list[Any] = []
        self.schemas: list[str | None] = []

    def __call__(self, message: Envelope, context: HandlerContext) -> None:
        self.data.append(message.data)
        self.schemas.append(message.dataschema)
        assert context.message is message


def stored(message: UUID) -> Envelope:
    return parse_envelope(bytes(Message.objects.get(pk=message).envelope), max_bytes=1_000_000)


# --- sending ---


def test_what_does_not_follow_its_schema_is_an_error_for_its_sender(lab: Lab) -> None:
    register(1, number=NUMBER)
    lab.agent("a")
    workflow = lab.workflow()
    with pytest.raises(SchemaViolation, match="version 1: data/number: expected a value of type integer"):
        lab.send(workflow, "a", {"number": "seven"})
    assert not Message.objects.exists()
    sent = lab.send(workflow, "a", {"number": 7})
    assert stored(sent).dataschema == build_uri(TYPE, 1)
    assert stored(sent).sequence_number == 1
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


@pytest.mark.parametrize("leased", [False, True])
def test_a_handler_that_sends_what_may_not_be_sent_fails_for_good(lab: Lab, leased: bool) -> None:
    register(1, number=NUMBER)

    def answer(message: Envelope, context: HandlerContext) -> None:
        context.send("b", TYPE, {"secret": "sesame"})

    lab.agent("a", answer, leased=leased)
    lab.agent("b")
    workflow = lab.workflow()
    lab.bus.send(workflow, "a", "go", sender="web")
    lab.settle()
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.error) == ("handler_error", "SchemaViolation")
    assert "expected the property 'number'" in letter.detail
    assert "sesame" not in letter.detail
    assert Message.objects.count() == 1


@pytest.mark.parametrize(("policy", "refused"), [("allow", False), ("warn", False), ("refuse", True)])
def test_types_without_a_schema(lab: Lab, policy: str, refused: bool) -> None:
    lab.configure(unknown_types=policy)
    lab.agent("a")
    workflow = lab.workflow()
    if refused:
        with pytest.raises(SchemaViolation, match="UNKNOWN_TYPES"):
            lab.send(workflow, "a")
    else:
        assert stored(lab.send(workflow, "a")).dataschema is None


def test_who_sends_what_is_deprecated_is_counted(lab: Lab) -> None:
    register(1, number=NUMBER)
    MessageSchema.objects.update(deprecated=True)
    installed_schemas.forget_stored()
    lab.agent("a")
    workflow = lab.workflow()
    before = sum(deprecated_uses.counts().values())
    lab.send(workflow, "a", {"number": 7})
    assert sum(deprecated_uses.counts().values()) == before + 1


# --- receiving ---


def written_elsewhere(workflow: UUID, sent: UUID, **changes: Any) -> log.StoredDelivery:
    """The delivery of a message that a sender with other schemas, or none, wrote and signed."""
    message = Message.objects.get(pk=sent)
    envelope = stored(sent)
    values: dict[str, Any] = {
        "message_id": envelope.id,
        "workflow_id": workflow,
        "source": envelope.source,
        "recipient": envelope.subject,
        "type": envelope.type,
        "data": envelope.data,
        "sequence": envelope.sequence_number,
        "position": envelope.position,
        "time": envelope.time,
        "data_schema": envelope.dataschema,
        "max_bytes": 100_000,
    }
    message.envelope = build_envelope(**{**values, **changes})
    signer = signing()
    message.signature = "" if signer is None else signer.sign(message.envelope, "")
    message.save()
    (identifier,) = message.deliveries.values_list("pk", flat=True)
    return log.load_for_publishing([identifier])[0]


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"data": {"number": "sesame"}}, "data/number: expected a value of type integer"),
        ({"data_schema": "https://example.com/schema"}, "names no schema"),
        ({"data_schema": build_uri("other", 1)}, "names the type 'other'"),
        ({"data_schema": build_uri(TYPE, 9), "time": timezone.now() - timedelta(days=1)}, "no schema of version 9"),
    ],
)
def test_what_came_and_does_not_follow_its_schema_is_a_dead_letter(
    lab: Lab, changes: dict[str, Any], detail: str
) -> None:
    register(1, number=NUMBER)
    lab.agent("a")
    workflow, other = lab.workflow(), lab.workflow()
    sent = lab.send(workflow, "a", {"number": 7})
    lab.send(other, "a", {"number": 8})
    _, good = lab.take_offered()
    lab.publish([written_elsewhere(workflow, sent, **changes), good])
    assert lab.work() == {Outcome.DEAD: 1, Outcome.PROCESSED: 1}
    letter = DeadLetter.objects.get()
    assert letter.reason == "schema"
    assert detail in letter.detail
    assert "sesame" not in letter.detail


def test_a_version_that_is_newer_than_this_worker_waits_for_one_that_knows_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(1, number=NUMBER)
    seen = Seen()
    lab.agent("a", seen)
    workflow = lab.workflow()
    sent = lab.send(workflow, "a", {"number": 7})
    lab.take_offered()
    lab.publish([written_elsewhere(workflow, sent, data_schema=build_uri(TYPE, 2))])
    assert lab.work() == {Outcome.RETRY: 1}
    assert "no schema of version 2" in Message.objects.get().deliveries.values_list("last_error", flat=True)[0]
    MessageSchema.objects.create(type=TYPE, version=2, document={"type": "object"})
    monkeypatch.setattr("messaging.security.schemas.current.LOOK_AGAIN", 0.0)
    lab.settle()  # nobody told this process: the unknown version made it look
    assert seen.data == [{"number": 7}]


def test_schemas_that_cannot_be_read_kill_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.publish()

    class Broken:
        def checker(self, **_: Any) -> Any:
            raise SchemaError("x.json: is not JSON")

    with monkeypatch.context() as patch:
        patch.setattr(step, "installed_schemas", Broken())
        assert lab.work() == {Outcome.RETRY: 1}
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


# --- versions ---


@pytest.mark.parametrize("leased", [False, True])
def test_the_first_version_in_flight_while_the_second_is_registered(
    lab: Lab, steps: upcasting.Upcasters, leased: bool
) -> None:
    register(1, number=NUMBER)
    seen = Seen()
    lab.agent("a", seen, leased=leased)
    workflow = lab.workflow()
    sent = lab.send(workflow, "a", {"number": 7})
    before = bytes(Message.objects.get(pk=sent).envelope)
    register(2, number=NUMBER, currency=TEXT)
    steps.add(TYPE, 1, 2, lambda data: {**data, "currency": "EUR"})
    lab.send(workflow, "a", {"number": 8, "currency": "CHF"})
    lab.settle()
    assert seen.data == [{"number": 7, "currency": "EUR"}, {"number": 8, "currency": "CHF"}]
    assert seen.schemas == [build_uri(TYPE, 2)] * 2
    assert bytes(Message.objects.get(pk=sent).envelope) == before


def test_a_replay_of_a_message_three_versions_old(lab: Lab, steps: upcasting.Upcasters) -> None:
    register(1, number=NUMBER)
    broken = True
    seen = Seen()

    def handle(message: Envelope, context: HandlerContext) -> None:
        if broken:
            raise TerminalError("not yet")
        seen(message, context)

    lab.agent("a", handle)
    workflow = lab.workflow()
    lab.send(workflow, "a", {"number": 7})
    lab.settle()
    register(2, number=NUMBER, currency=TEXT)
    register(3, number=NUMBER, currency=TEXT)  # says the same, so that no step is needed
    register(4, count=NUMBER, currency=TEXT)
    steps.add(TYPE, 1, 2, lambda data: {**data, "currency": "EUR"})
    steps.add(TYPE, 3, 4, lambda data: {"count": data["number"], "currency": data["currency"]})
    broken = False
    lab.replay(DeadLetter.objects.get().pk)
    lab.settle()
    assert seen.data == [{"count": 7, "currency": "EUR"}]


def test_a_missing_step_is_a_dead_letter_that_names_it(lab: Lab, steps: upcasting.Upcasters) -> None:
    register(1, number=NUMBER)
    seen = Seen()
    lab.agent("a", seen)
    workflow, other = lab.workflow(), lab.workflow()
    lab.send(workflow, "a", {"number": 7})
    register(2, number=NUMBER, currency=TEXT)
    lab.send(other, "a", {"number": 8, "currency": "CHF"})
    lab.settle()
    letter = DeadLetter.objects.get()
    assert letter.reason == "schema"
    assert f"Write @upcaster('{TYPE}', 1, 2)" in letter.detail
    assert len(seen.data) == 1


# --- objects ---


class Order(msgspec.Struct):
    number: int
    note: str = ""


@dataclass
class Bill:
    number: int

    def __post_init__(self) -> None:
        if self.number == 13:
            raise ValueError(f"{self.number} is bad luck")


@pytest.mark.parametrize("leased", [False, True])
def test_a_handler_gets_the_object_that_its_agent_declared(lab: Lab, leased: bool) -> None:
    seen, plain = Seen(), Seen()

    def handle(message: Envelope, context: HandlerContext) -> None:
        seen(message, context)
        message.data.note = "changed"  # for itself alone
        if context.attempt == 1:
            raise ValueError("once")

    lab.agent("a", handle, leased=leased, models={TYPE: Order})
    lab.agent("b", plain)
    lab.bus.create_group("all", ["a", "b"])
    workflow = lab.workflow()
    lab.send(workflow, "all", {"number": 7, "note": "as sent"})
    with pytest.raises(SchemaViolation, match="number"):
        lab.send(workflow, "a", {})
    lab.settle()
    assert [type(one) for one in seen.data] == [Order, Order]
    assert plain.data == [{"number": 7, "note": "as sent"}]
    assert seen.data[0] is not seen.data[1]


def test_what_the_class_refuses_is_a_dead_letter_without_the_value(lab: Lab) -> None:
    lab.agent("a", models={TYPE: Bill})
    workflow = lab.workflow()
    lab.send(workflow, "a", {"number": 13})
    lab.settle()
    letter = DeadLetter.objects.get()
    assert letter.reason == "schema"
    assert "Bill raised" in letter.detail
    assert "bad luck" not in letter.detail


# --- in process ---


@pytest.fixture
def quiet() -> Iterator[CommunicationBus]:
    bus = CommunicationBus()
    bus.register_agent("web")
    yield bus
    bus.close()


def test_the_in_process_bus_passes_the_same_check(quiet: CommunicationBus) -> None:
    quiet.register_agent("a", lambda message, context: None)
    workflow = quiet.start_workflow("test")
    with pytest.raises(SchemaViolation):
        quiet.send(workflow, "a", "nexus.resend", {"agent": 1}, sender="web")
