"""Programs outside, on both databases: what they may say is stored once and handled; all else is refused visibly."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from django.utils import timezone
from nacl.signing import SigningKey

from examples.foreign_sender.producer import base64url, build_event, sign
from messaging.api import OutgoingMessage
from messaging.brokers.topology import INBOX_EXCHANGE, INBOX_QUEUE
from messaging.core.envelope import CONTENT_TYPE
from messaging.core.errors import SigningKeyError
from messaging.models import (
    DeadLetter,
    DeadReason,
    ForeignArrival,
    ForeignSender,
    Message,
    SigningChange,
    Workflow,
)
from messaging.operators.verifying import verify_log
from messaging.receiving.inbox import reader, storing
from messaging.recovery.relay import Relay
from messaging.recovery.retention import prune_messages
from messaging.security.access.policy import Defaults, Effect, Policy
from messaging.security.access.store import save_policy
from messaging.security.signatures import foreign, jws, keys
from messaging.security.signatures.algorithms import Algorithm, SigningPart
from tests.support import ledger
from tests.support.lab import Lab
from tests.support.stepping import Died


class Shop:
    """A program outside, with its key."""

    def __init__(self, lab: Lab, name: str = "shop", **options: Any) -> None:
        self.lab, self.name, self.key = lab, name, SigningKey.generate()
        options = {"agents": "shop,shop-*", **options}
        foreign.register(name, jwk(bytes(self.key.verify_key)), who="test", **options)

    def body(self, **changes: Any) -> bytes:
        """An event's bytes; a change to None leaves the attribute out."""
        event = build_event(source="shop", to="clerk", workflow="order-7", type="order.placed", data={"items": 3})
        event["time"] = timezone.now().isoformat()  # by the lab's clock
        event.update(changes)
        return json.dumps({name: value for name, value in event.items() if value is not None}).encode()

    def send(self, body: bytes | None = None, *, signature: str | None = None, **changes: Any) -> bytes:
        """Sign and publish an event, and return its bytes."""
        body = self.body(**changes) if body is None else body
        put(self.lab, body, sign(body, self.key, self.name) if signature is None else signature)
        return body


def jwk(public: bytes) -> str:
    return json.dumps({"kty": "OKP", "crv": "Ed25519", "x": base64url(public)})


def put(lab: Lab, body: bytes, signature: object, content_type: str = CONTENT_TYPE) -> None:
    headers = {} if signature is None else {"signature": signature}
    message = OutgoingMessage(
        id=str(uuid4()),
        body=body,
        exchange=INBOX_EXCHANGE,
        routing_key="any",
        headers=headers,
        content_type=content_type,
    )
    lab.broker.publish(message)


@pytest.fixture
def shop(lab: Lab) -> Shop:
    lab.agent("clerk")
    return Shop(lab)


def read(lab: Lab) -> None:
    """Let the relay take a turn; nothing may be left in the inbox."""
    lab.relay_turn(after=0.1)
    assert lab.broker.queue_depth(INBOX_QUEUE) == 0


def refusals() -> list[tuple[str, str]]:
    return list(DeadLetter.objects.order_by("pk").values_list("reason", "detail"))


def test_what_a_program_outside_says_is_handled_like_any_other_message(lab: Lab, shop: Shop) -> None:
    body = shop.send(id="event-1")
    lab.relay_turn()
    lab.settle()
    message = Message.objects.get()
    assert (message.source, message.subject, message.type, message.sequence) == ("shop", "clerk", "order.placed", 1)
    assert [(entry.agent, entry.sequence) for entry in ledger.read()] == [("clerk", 1)]
    assert lab.states(message.workflow_id) == ["processed"]
    arrival = ForeignArrival.objects.get()
    assert (arrival.message_id, arrival.event_id, bytes(arrival.body)) == (message.pk, "event-1", body)
    assert arrival.signature == sign(body, shop.key, "shop")
    assert jws.read(message.signature).key != "shop", "the log carries this installation's signature"
    assert list(verify_log()) == []
    assert refusals() == []


def test_names_of_workflows_belong_to_their_program(lab: Lab, shop: Shop) -> None:
    other = Shop(lab, "other-shop", agents="shop")
    shop.send()
    shop.send()
    other.send()
    lab.relay_turn()
    found = sorted(Workflow.objects.values_list("name", "sequence"))
    assert found == [("other-shop: order-7", 1), ("shop: order-7", 2)]


def test_a_workflow_by_its_id_and_a_cause_in_it(lab: Lab, shop: Shop) -> None:
    workflow, elsewhere = lab.workflow(), lab.workflow()
    cause, foreign_cause = lab.send(workflow, "clerk"), lab.send(elsewhere, "clerk")
    shop.send(partitionkey=str(workflow), causationid=str(cause))
    read(lab)
    assert Message.objects.get(source="shop").workflow_id == workflow
    shop.send(partitionkey=str(workflow), causationid=str(foreign_cause))
    shop.send(partitionkey=str(uuid4()))
    read(lab)
    assert Message.objects.filter(source="shop").count() == 1
    assert [reason for reason, _ in refusals()] == [DeadReason.NOT_ACCEPTED] * 2
    assert "no message of its workflow" in refusals()[0][1]
    assert "There is no workflow" in refusals()[1][1]


def test_a_program_that_may_start_no_workflow_uses_those_that_were_started_for_it(lab: Lab) -> None:
    lab.agent("clerk")
    guest = Shop(lab, "guest", starts_workflows=False)
    guest.send()
    read(lab)
    assert "deduplication_id='foreign/guest/order-7'" in refusals()[0][1]
    workflow = lab.workflow(deduplication_id="foreign/guest/order-7")
    guest.send()
    read(lab)
    assert Message.objects.get().workflow_id == workflow


# --- refused ---


def other_key(shop: Shop) -> None:
    body = shop.body()
    shop.send(body, signature=sign(body, SigningKey.generate(), "shop"))


def changed_body(shop: Shop) -> None:
    body = shop.body()
    shop.send(body.replace(b"order-7", b"order-8"), signature=sign(body, shop.key, "shop"))


def unknown_kid(shop: Shop) -> None:
    body = shop.body()
    shop.send(body, signature=sign(body, shop.key, "shop-2"))


def kid_of_the_installation(shop: Shop) -> None:
    body = shop.body()
    signer = keys.signing()
    assert signer is not None
    shop.send(body, signature=signer.sign(body))


def with_others(shop: Shop) -> None:
    part = SigningPart.load(Algorithm.ED25519, bytes(shop.key))
    one, _ = jws.sign_all(part, "shop", [(body := shop.body(), ""), (shop.body(), "")])
    shop.send(body, signature=one)


def header(**members: Any) -> Callable[[Shop], None]:
    """A signature that verifies, with another protected header."""

    def send(shop: Shop) -> None:
        body = shop.body()
        encoded = base64url(json.dumps({"alg": "Ed25519", "kid": "shop", **members}).encode())
        signed = shop.key.sign(jws.signing_input(encoded, body)).signature
        shop.send(body, signature=f"{encoded}..{base64url(signed)}")

    return send


def public_key_as_secret(shop: Shop) -> None:
    body = shop.body()
    shop.send(body, signature=jws.sign(SigningPart.load(Algorithm.HS256, bytes(shop.key.verify_key)), "shop", body))


def revoked(shop: Shop) -> None:
    shop.send()
    foreign.revoke("shop", who="test")


def forged_registration(shop: Shop) -> None:
    """Somebody who can write to the database, without the master key."""
    mallory = SigningKey.generate()
    ForeignSender.objects.filter(pk="shop").update(public=bytes(mallory.verify_key))
    body = shop.body()
    shop.send(body, signature=sign(body, mallory, "shop"))


def event(**changes: Any) -> Callable[[Shop], None]:
    """Values that are functions are called when it is sent: a time counts from then."""
    return lambda shop: void(
        shop.send(**{name: value() if callable(value) else value for name, value in changes.items()})
    )


def at(**ahead: float) -> Callable[[], str]:
    return lambda: (datetime.now(UTC) + timedelta(**ahead)).isoformat()


def void(_: object) -> None:
    return None


def text(body: bytes) -> Callable[[Shop], None]:
    return lambda shop: void(shop.send(body))


REFUSED: dict[str, tuple[Callable[[Shop], None], DeadReason, str]] = {
    "forged": (other_key, DeadReason.NOT_AUTHENTIC, "not those that were signed"),
    "replayed to another workflow": (changed_body, DeadReason.NOT_AUTHENTIC, "not those that were signed"),
    "unknown kid": (unknown_kid, DeadReason.NOT_AUTHENTIC, "No key is named 'shop-2'"),
    "a key of the installation": (kid_of_the_installation, DeadReason.NOT_AUTHENTIC, "No key is named"),
    "alg none": (header(alg="none"), DeadReason.NOT_AUTHENTIC, "claims the algorithm 'none'"),
    "alg HS256": (public_key_as_secret, DeadReason.NOT_AUTHENTIC, "claims the algorithm 'HS256'"),
    "jwk": (header(jwk={"kty": "OKP"}), DeadReason.NOT_AUTHENTIC, "Only alg, kid, to and cty"),
    "jku": (header(jku="https://example.org"), DeadReason.NOT_AUTHENTIC, "Only alg, kid, to and cty"),
    "x5u": (header(x5u="https://example.org"), DeadReason.NOT_AUTHENTIC, "Only alg, kid, to and cty"),
    "x5c": (header(x5c=[]), DeadReason.NOT_AUTHENTIC, "Only alg, kid, to and cty"),
    "crit": (header(crit=["exp"]), DeadReason.NOT_AUTHENTIC, "Only alg, kid, to and cty"),
    "to": (header(to="x"), DeadReason.NOT_AUTHENTIC, "signed as a group's message"),
    "signed with others": (with_others, DeadReason.NOT_AUTHENTIC, "signed together with others"),
    "revoked": (revoked, DeadReason.NOT_AUTHENTIC, "is revoked"),
    "forged registration": (forged_registration, DeadReason.NOT_AUTHENTIC, "not written by a holder of the master key"),
    "no signature": (lambda shop: put(shop.lab, shop.body(), None), DeadReason.NOT_AUTHENTIC, "no signature"),
    "a number": (lambda shop: put(shop.lab, shop.body(), 7), DeadReason.NOT_AUTHENTIC, "no signature"),
    "garbage": (lambda shop: put(shop.lab, b"\xff", "x"), DeadReason.NOT_AUTHENTIC, "no JWS"),
    "content type": (
        lambda shop: put(shop.lab, shop.body(), "x", "text/plain"),
        DeadReason.INVALID_ENVELOPE,
        "Content type",
    ),
    "oversize": (event(data="x" * 300_000), DeadReason.INVALID_ENVELOPE, "at most 262144 are allowed"),
    "undecodable": (text(b"\xff\xfe"), DeadReason.INVALID_ENVELOPE, "not UTF-8"),
    "no object": (text(b"[]"), DeadReason.INVALID_ENVELOPE, "expected a JSON object"),
    "duplicate attribute": (text(b'{"id": "a", "id": "b"}'), DeadReason.INVALID_ENVELOPE, "id"),
    "a number of its own": (event(sequence="0" * 19 + "1"), DeadReason.INVALID_ENVELOPE, "sequence: is no attribute"),
    "a request's answer": (event(correlationid=str(UUID(int=1))), DeadReason.INVALID_ENVELOPE, "is no attribute"),
    "no time": (event(time=None), DeadReason.INVALID_ENVELOPE, "time: is missing"),
    "NUL in its id": (event(id="a\0b"), DeadReason.INVALID_ENVELOPE, "printable"),
    "other source": (event(source="clerk"), DeadReason.NOT_AUTHENTIC, "may not speak for 'clerk'"),
    "too old": (event(time=at(days=-7, minutes=-1)), DeadReason.NOT_ACCEPTED, "NEXUS_DEDUP_TTL"),
    "from the future": (event(time=at(minutes=6)), DeadReason.NOT_ACCEPTED, "NEXUS_DEDUP_TTL"),
    "expired": (event(expirytime=at(seconds=-1)), DeadReason.NOT_ACCEPTED, "expired at"),
    "unknown recipient": (event(subject="nobody"), DeadReason.UNKNOWN_AGENT, "nobody"),
    "to be cleaned": (event(data={"note": "a\u202eb"}), DeadReason.NOT_ACCEPTED, "/note"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_seen_and_stops_nothing_else(
    lab: Lab, shop: Shop, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    send, reason, words = REFUSED[case]
    before = shop.body()
    if case not in ("revoked", "forged registration"):
        shop.send(before)
    send(shop)
    with caplog.at_level(logging.WARNING, "nexus.inbox"):
        read(lab)
    assert [letter[0] for letter in refusals()] == [reason], refusals()
    assert words in refusals()[0][1]
    assert words in caplog.text
    stored = Message.objects.count()
    assert stored == (0 if case in ("revoked", "forged registration") else 1)
    assert Message.objects.count() == ForeignArrival.objects.count()


def test_the_access_policy_holds_for_programs_outside(lab: Lab, shop: Shop) -> None:
    save_policy(Policy(defaults=Defaults(without_team=Effect.DENY)), who="test")
    shop.send()
    read(lab)
    assert [reason for reason, _ in refusals()] == [DeadReason.NOT_AUTHORIZED]
    assert not Message.objects.exists()


def test_schemas_hold_for_programs_outside(lab: Lab, shop: Shop) -> None:
    shop.send()
    lab.configure(unknown_types="refuse")
    read(lab)
    assert [reason for reason, _ in refusals()] == [DeadReason.SCHEMA]
    assert not Message.objects.exists()
    assert not Workflow.objects.exists(), "nothing of a refused event stays"


# --- twice ---


def test_an_event_that_would_have_to_be_encrypted_is_refused(lab: Lab, shop: Shop) -> None:
    lab.agent("clerk")
    lab.configure(encrypted_types="order.*")
    shop.send()
    read(lab)
    ((reason, detail),) = refusals()
    assert (reason, "kept in clear" in detail, ForeignArrival.objects.count()) == ("not_accepted", True, 0)


def test_an_event_that_comes_twice_is_stored_once(lab: Lab, shop: Shop) -> None:
    body = shop.send()
    shop.send(body)
    read(lab)
    shop.send(body)
    read(lab)
    assert Message.objects.count() == 1
    assert refusals() == []


def test_another_event_with_a_known_id_is_refused(lab: Lab, shop: Shop) -> None:
    shop.send(id="event-1", data=1)
    shop.send(id="event-1", data=2)
    read(lab)
    shop.send(id="event-1", data=3)
    Shop(lab, "other", agents="shop").send(id="event-1", data=4)
    read(lab)
    assert Message.objects.count() == 2, "an id is its program's own"
    assert [reason for reason, _ in refusals()] == [DeadReason.NOT_ACCEPTED] * 2
    assert "needs an id of its own" in refusals()[0][1]


def test_killed_between_commit_and_acknowledgement_it_is_stored_once(lab: Lab, shop: Shop) -> None:
    shop.send()
    shop.send(data=2)
    with patch.object(lab.broker, "acknowledge", side_effect=Died), pytest.raises(Died):
        lab.relay.turn()
    assert Message.objects.count() == 2
    lab.relay._inbox.close()  # as the broker does with a dead process's connection
    assert lab.broker.queue_depth(INBOX_QUEUE) == 2
    lab.relay = Relay(lab.broker)
    lab.clock.advance(10)
    read(lab)
    lab.settle()
    assert Message.objects.count() == ForeignArrival.objects.count() == 2
    assert lab.states(Workflow.objects.get().pk) == ["processed"] * 2


def test_a_lost_database_delays_and_loses_nothing(lab: Lab, shop: Shop) -> None:
    shop.send()
    other_key(shop)
    with patch.object(storing, "find_senders", side_effect=OperationalError("gone")), pytest.raises(OperationalError):
        lab.relay.turn()
    read(lab)
    assert (Message.objects.count(), len(refusals())) == (1, 1)


def test_a_missing_master_key_decides_nothing(lab: Lab, shop: Shop) -> None:
    shop.send()
    with patch.object(foreign, "get_vault", side_effect=SigningKeyError("no master key")):
        lab.relay.turn()
    assert refusals() == []
    assert not Message.objects.exists()
    lab.relay._inbox._not_before = 0.0
    read(lab)
    assert Message.objects.count() == 1


def test_a_defect_while_storing_refuses_that_event_alone(lab: Lab, shop: Shop) -> None:
    real = storing._refuse_unclean

    def fail(arrival: Any) -> None:
        if arrival.event.data == "bad":
            raise ZeroDivisionError
        real(arrival)

    for data in ("good", "bad", "good"):
        shop.send(data=data)
    with patch.object(storing, "_refuse_unclean", fail):
        read(lab)
    assert Message.objects.count() == 2
    assert [reason for reason, _ in refusals()] == [DeadReason.CHECK_FAILED]


def test_who_sends_too_quickly_waits_and_then_is_refused(lab: Lab, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(reader, "monotonic", lambda: now[0])
    monkeypatch.setattr(reader, "MAX_WAITING", 5)
    hasty = Shop(lab, "hasty", agents="shop", rate=0.2)  # a burst of two
    for number in range(10):
        hasty.send(data=number, partitionkey="hasty")
    shop.send(partitionkey="patient")
    lab.relay.turn()
    assert Workflow.objects.get(name="shop: patient").sequence == 1
    assert Workflow.objects.get(name="hasty: hasty").sequence == 2
    assert [reason for reason, _ in refusals()] == [DeadReason.NOT_ACCEPTED] * 3
    assert "0.2 events a second" in refusals()[0][1]
    for _ in range(5):
        now[0] += 5
        lab.relay.turn()
    read(lab)
    workflow = Workflow.objects.get(name="hasty: hasty")
    lab.settle()
    stored = Message.objects.filter(workflow=workflow).order_by("sequence").values_list("envelope", flat=True)
    assert [json.loads(bytes(body))["data"] for body in stored] == list(range(7)), "in the order in which they came"


def test_what_is_forgotten_is_too_old_to_come_again(lab: Lab, shop: Shop) -> None:
    body = shop.send()
    read(lab)
    lab.settle()
    lab.bus.complete_workflow(Workflow.objects.get().pk)
    lab.clock.advance(6.9 * 86_400)
    prune_messages(timedelta(days=6))
    assert (Message.objects.count(), ForeignArrival.objects.count()) == (0, 1)
    shop.send(body)
    read(lab)
    assert (Message.objects.count(), refusals()) == (0, []), "known, although its message is gone"
    lab.clock.advance(86_400)
    prune_messages(timedelta(days=6))
    assert ForeignArrival.objects.count() == 0
    shop.send(body)
    read(lab)
    assert Message.objects.count() == 0
    assert [reason for reason, _ in refusals()] == [DeadReason.NOT_ACCEPTED]


def test_changes_are_audited(lab: Lab, shop: Shop) -> None:
    foreign.revoke("shop", who="olga")
    found = SigningChange.objects.filter(kid="shop").order_by("pk").values_list("who", "what")
    assert list(found) == [("test", "foreign registered"), ("olga", "foreign revoked")]
