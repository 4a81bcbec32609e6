"""Signatures, on both databases: what was changed, moved or said by another is not handled, and is seen."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from messaging import log
from messaging.core.errors import MayNotSignFor, SigningKeyError
from messaging.core.ids import delivery_id
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage
from messaging.gate.receiving import admit_in_advance
from messaging.models import (
    DeadLetter,
    Delivery,
    KeyState,
    Mailbox,
    Message,
    SigningChange,
    SigningExemption,
    SigningKey,
    SigningMode,
    SigningState,
    Workflow,
)
from messaging.operators.verifying import verify_log
from messaging.receiving import consumer
from messaging.security.signatures import changing, jws, keys
from messaging.security.signatures.stored import open_secret
from messaging.workflows import life_cycle
from tests.integration.test_commands import run
from tests.support.lab import Lab
from tests.support.stepping import Died


def problems() -> str:
    return "\n".join(str(found) for found in verify_log())


def reasons() -> list[tuple[str, bool]]:
    return [(letter.reason, letter.delivery_id is not None) for letter in DeadLetter.objects.order_by("pk")]


@pytest.fixture
def ready(lab: Lab) -> tuple[Lab, UUID]:
    """A lab with the agents a and b, the group "both" and a workflow."""
    lab.agent("a")
    lab.agent("b")
    lab.bus.create_group("both", ["a", "b"])
    return lab, lab.workflow()


Ready = tuple[Lab, UUID]

IN_FLIGHT = int(os.environ.get("SIGNATURE_IN_FLIGHT", "60"))
"""The long form: SIGNATURE_IN_FLIGHT=10000."""


@pytest.mark.parametrize("in_flight", [True, False])
def test_a_key_that_is_revoked_between_the_gate_and_the_transaction(
    ready: Ready, monkeypatch: pytest.MonkeyPatch, in_flight: bool
) -> None:
    lab, workflow = ready
    lab.send(workflow, "a")
    lab.settle()  # the worker knows the keys
    lab.send(workflow, "a")
    lab.send(workflow, "a")
    lab.publish()
    admitted = admit_in_advance

    def admit_and_revoke(passages: Sequence[Passage]) -> None:
        admitted(passages)
        assert all(passage.keys is not None and passage.stop is None for passage in passages)
        changing.revoke(SigningKey.objects.get().kid, park=False, who="test")
        if not in_flight:
            SigningExemption.objects.all().delete()
        monkeypatch.setattr(consumer, "admit_in_advance", admitted)

    monkeypatch.setattr(consumer, "admit_in_advance", admit_and_revoke)
    lab.work(2)
    if in_flight:
        assert lab.all_processed(workflow)
        assert not reasons()
    else:
        assert Delivery.objects.filter(state="processed").count() == 1  # from before
        assert reasons()[0] == ("not_authentic", True)


def test_what_is_sent_is_signed_and_handled_without_any_set_up(ready: Ready) -> None:
    lab, workflow = ready
    lab.send(workflow, "a")
    lab.send(workflow, "both")
    lab.publish()
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert lab.ledger.handled(workflow, "b") == [2]
    key = SigningKey.objects.get()
    assert (key.state, key.signer, key.agents, key.algorithm) == ("active", "nexus", "*", "Ed25519")
    assert {jws.read(text).key for text in Message.objects.values_list("signature", flat=True)} == {key.kid}
    assert SigningState.objects.get().mode == "enforce"
    assert problems() == ""
    assert [change.what for change in SigningChange.objects.order_by("pk")] == ["created"]


def test_a_message_of_200_000_bytes_verifies(ready: Ready) -> None:
    lab, workflow = ready
    lab.send(workflow, "a", "x" * 200_000)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


def test_the_first_key_that_is_rolled_back_is_forgotten(ready: Ready) -> None:
    lab, workflow = ready
    with transaction.atomic():
        lab.send(workflow, "a")
        lab.send(workflow, "a")
        transaction.set_rollback(True)
    lab.take_offered()
    assert not SigningKey.objects.exists()
    lab.send(workflow, "a")
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


# --- on the wire ---


def _other_body(stored: log.StoredDelivery, other: log.StoredDelivery) -> log.StoredDelivery:
    return log.StoredDelivery(stored.id, stored.workflow_id, stored.queue, stored.body + b" ", stored.signature)


def _no_signature(stored: log.StoredDelivery, other: log.StoredDelivery) -> log.StoredDelivery:
    return log.StoredDelivery(stored.id, stored.workflow_id, stored.queue, stored.body, "")


def _other_signature(stored: log.StoredDelivery, other: log.StoredDelivery) -> log.StoredDelivery:
    return log.StoredDelivery(stored.id, stored.workflow_id, stored.queue, stored.body, other.signature)


def _other_message(stored: log.StoredDelivery, other: log.StoredDelivery) -> log.StoredDelivery:
    return log.StoredDelivery(stored.id, stored.workflow_id, stored.queue, other.body, other.signature)


@pytest.mark.parametrize("forge", [_other_body, _no_signature, _other_signature, _other_message])
def test_a_forged_copy_is_refused_and_harms_nothing(
    ready: Ready, forge: Callable[[log.StoredDelivery, log.StoredDelivery], log.StoredDelivery]
) -> None:
    lab, workflow = ready
    lab.send(workflow, "a")
    lab.send(workflow, "b")
    first, second = lab.take_offered()
    lab.put([forge(first, second)])
    assert lab.work() == {Outcome.REJECTED: 1}
    assert lab.ledger.handled(workflow, "a") == []
    lab.publish([first, second])
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert lab.ledger.handled(workflow, "b") == [2]
    assert [known for _, known in reasons()] == [False]


# --- in the database ---


def _move_to_another_agent(workflow: UUID) -> None:
    mailbox = Mailbox.objects.create(workflow_id=workflow, agent="b", sent=1, processed=0)
    Delivery.objects.update(agent="b", mailbox=mailbox)


def _move_position(workflow: UUID) -> None:
    Mailbox.objects.update(processed=4, sent=5)
    Delivery.objects.update(position=5)


def _change_envelope(workflow: UUID) -> None:
    message = Message.objects.get()
    Message.objects.update(envelope=bytes(message.envelope).replace(b'"data":"good"', b'"data":"evil"'))


def _change_sender(workflow: UUID) -> None:
    message = Message.objects.get()
    Message.objects.update(envelope=bytes(message.envelope).replace(b'"source":"web"', b'"source":"abc"'))


def _change_senders_column(workflow: UUID) -> None:
    Message.objects.update(source="b")


def _remove_signature(workflow: UUID) -> None:
    Message.objects.update(signature="")


@pytest.mark.parametrize(
    "change",
    [
        _move_to_another_agent,
        _move_position,
        _change_envelope,
        _change_sender,
        _change_senders_column,
        _remove_signature,
    ],
)
@pytest.mark.parametrize("leased", [False, True], ids=["transactional", "leased"])
def test_a_row_that_was_changed_is_not_handled_and_reported(
    ready: Ready, change: Callable[[UUID], None], leased: bool
) -> None:
    lab, workflow = ready
    lab.agent("a", leased=leased)
    lab.agent("b", leased=leased)
    lab.send(workflow, "a", "good")
    (stored,) = lab.take_offered()
    change(workflow)
    assert problems()
    lab.publish(log.load_for_publishing([stored.id]))
    lab.work(2)
    assert lab.ledger.handled(workflow, "a") == lab.ledger.handled(workflow, "b") == []
    assert reasons() == [("not_authentic", True)]
    assert Workflow.objects.get().status == "parked"


def assert_not_handled_when_swapped(
    lab: Lab, workflow: UUID, for_a: log.StoredDelivery, for_b: log.StoredDelivery
) -> None:
    """Give the two members of a group each other's delivery by SQL: it is reported, and neither handles it."""
    box_a, box_b = Mailbox.objects.get(agent="a"), Mailbox.objects.get(agent="b")
    Delivery.objects.filter(pk=for_a.id).update(position=9)
    Delivery.objects.filter(pk=for_b.id).update(agent="a", mailbox=box_a)
    Delivery.objects.filter(pk=for_a.id).update(agent="b", mailbox=box_b, position=1)
    assert "not those that were signed" in problems()
    lab.publish([for_a, for_b])
    lab.work()
    assert lab.ledger.handled(workflow, "a") == lab.ledger.handled(workflow, "b") == []
    assert {reason for reason, _ in reasons()} == {"not_authentic"}


def test_a_group_whose_members_were_swapped_is_not_handled(ready: Ready) -> None:
    lab, workflow = ready
    lab.send(workflow, "both")
    for_a, for_b = lab.take_offered()
    assert_not_handled_when_swapped(lab, workflow, for_a, for_b)


def test_a_held_successor_is_verified_too(ready: Ready) -> None:
    lab, workflow = ready
    lab.send(workflow, "a")
    second = lab.send(workflow, "a", "good")
    first, held = lab.take_offered()
    lab.publish([held])
    lab.work()
    row = Message.objects.get(pk=second)
    Message.objects.filter(pk=second).update(envelope=bytes(row.envelope).replace(b"good", b"evil"))
    lab.publish([first])
    lab.work()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert Delivery.objects.get(pk=held.id).state == "dead"


def test_a_key_that_the_database_was_given_by_another_counts_for_nothing(ready: Ready) -> None:
    lab, workflow = ready
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    SigningKey.objects.update(agents="*,web")
    keys.renew_token()
    lab.publish([stored])
    lab.work()
    assert lab.ledger.handled(workflow, "a") == []
    assert "not written by a holder of the master key" in DeadLetter.objects.get().detail


# --- who may sign ---


def test_a_process_speaks_for_its_own_agents_only(ready: Ready) -> None:
    lab, workflow = ready
    changing.activate(changing.create(signer="nexus", agents="web,web-*", who="test").kid, who="test")
    lab.send(workflow, "a")
    with pytest.raises(MayNotSignFor, match="'b'"):
        lab.bus.send(workflow, "a", "test.message", sender="b")
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


def test_a_message_signed_by_a_process_that_may_not_is_refused(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, workflow = ready
    changing.activate(changing.create(signer="nexus", agents="b", who="test").kid, who="test")
    monkeypatch.setattr(keys.MessageSigner, "check_senders", lambda *_: None)
    lab.send(workflow, "a")
    lab.publish()
    lab.work()
    assert lab.ledger.handled(workflow, "a") == []
    assert "may not sign for 'web'" in DeadLetter.objects.get().detail
    assert "may not sign for 'web'" in problems()


# --- keys ---


@pytest.mark.parametrize("algorithm", ["Ed25519", "HS256"])
def test_rotation_refuses_nothing_that_is_in_flight(ready: Ready, algorithm: str) -> None:
    lab, workflow = ready
    lab.configure(signing_algorithm=algorithm)
    for number in range(6):
        lab.send(workflow, "a")
        if number % 2:
            changing.rotate("nexus", who="test")
    lab.publish()
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5, 6]
    assert sorted(SigningKey.objects.values_list("state", flat=True)) == ["active", "retired", "retired", "retired"]
    assert SigningKey.objects.filter(algorithm=algorithm).count() == 4
    assert problems() == ""


def test_revocation_goes_by_the_order_of_the_log(ready: Ready, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, workflow = ready
    lab.send(workflow, "a")
    lab.send(workflow, "both")
    before = lab.take_offered()
    key = SigningKey.objects.get()
    stolen = keys.signing()
    assert stolen is not None
    changing.rotate("nexus", who="test")
    assert changing.revoke(key.kid, park=False, who="test") == (2, [])
    lab.publish(before)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert lab.ledger.handled(workflow, "b") == [2]

    other = lab.workflow()
    with monkeypatch.context() as patched:
        patched.setattr("messaging.sending.outbox.signing", lambda: stolen)
        later = lab.send(other, "a")
    Message.objects.filter(pk=later).update(created_at="2020-01-01T00:00Z")  # an attacker's time counts for nothing
    lab.publish()
    lab.work()
    assert lab.ledger.handled(other, "a") == []
    assert "is revoked" in DeadLetter.objects.get().detail
    # What was in flight stays valid by its bytes, not by its id.
    first = Message.objects.get(sequence=1, workflow=workflow)
    row = SigningExemption.objects.get(message=first.pk)
    assert (row.kid, len(row.digest)) == (key.kid, 64)


def test_a_revocation_can_park_what_is_in_flight(ready: Ready) -> None:
    lab, workflow = ready
    done = lab.workflow()
    lab.send(done, "a")
    lab.settle()
    lab.send(workflow, "a")
    lab.send(workflow, "b")
    key = SigningKey.objects.get()
    changing.rotate("nexus", who="test")
    assert changing.revoke(key.kid, park=True, who="test") == (2, [workflow])
    lab.publish()
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == []
    assert (Workflow.objects.get(pk=workflow).status, DeadLetter.objects.count()) == ("parked", 0)
    lab.bus.resume_workflow(workflow)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert lab.ledger.handled(workflow, "b") == [2]


def test_a_revocation_that_is_killed_while_it_parks_has_not_begun(
    ready: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise what is to be parked would be handled until it is."""
    lab, workflow = ready
    lab.send(workflow, "a")
    key = SigningKey.objects.get()
    changing.rotate("nexus", who="test")

    def die(*_: object) -> list[UUID]:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(life_cycle, "park_all", die)
        with pytest.raises(Died):
            changing.revoke(key.kid, park=True, who="test")
    assert SigningKey.objects.get(pk=key.kid).state != "revoked"
    assert not SigningExemption.objects.exists()
    assert changing.revoke(key.kid, park=True, who="test") == (1, [workflow])


def test_a_revocation_loses_and_kills_nothing_that_is_in_flight(ready: Ready) -> None:
    lab, _ = ready
    workflows = [lab.workflow() for _ in range(max(1, IN_FLIGHT // 20))]
    for _ in range(20):
        for workflow in workflows:
            lab.send(workflow, "a")
    key = SigningKey.objects.get()
    changing.rotate("nexus", who="test")
    count, _ = changing.revoke(key.kid, park=False, who="test")
    assert count == 20 * len(workflows)
    for workflow in workflows:
        lab.send(workflow, "a")
    lab.publish_quickly()
    lab.settle()
    assert not DeadLetter.objects.exists()
    assert all(lab.ledger.handled(workflow, "a") == list(range(1, 22)) for workflow in workflows)


def test_private_parts_are_bound_to_their_row(ready: Ready) -> None:
    lab, workflow = ready
    lab.send(workflow, "a")
    one, two = SigningKey.objects.get(), changing.create(signer="web", who="test")
    with pytest.raises(SigningKeyError, match="copied"):
        open_secret(SigningKey(kid=two.kid, signer=two.signer, sealed=one.sealed, master=one.master))
    assert bytes(one.public) not in bytes(one.sealed)


def test_a_process_without_the_master_key_decides_nothing(ready: Ready) -> None:
    lab, workflow = ready
    lab.configure(master_key="11" * 32)
    lab.send(workflow, "a")
    (stored,) = lab.take_offered()
    lab.configure(master_key="22" * 32)
    lab.publish([stored])
    keys.forget()
    assert lab.work() == {Outcome.RETRY: 1}
    assert not DeadLetter.objects.exists()
    with pytest.raises(SigningKeyError, match="NEXUS_MASTER_KEY"):
        lab.send(workflow, "a")
    lab.configure(master_key="22" * 32 + "," + "11" * 32)
    keys.forget()
    assert changing.reseal(who="test") == 1
    lab.configure(master_key="22" * 32)
    keys.forget()
    lab.relay_turn(after=10.0)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


# --- switching on ---


def test_switching_on_keeps_what_is_in_flight_and_nothing_after(ready: Ready) -> None:
    lab, workflow = ready
    lab.configure(signing="off")
    lab.send(workflow, "a")
    lab.publish()
    lab.configure(signing="sign")
    lab.send(workflow, "a")
    lab.configure(signing="enforce")
    lab.publish()
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    state = SigningState.objects.get()
    assert (state.mode, SigningExemption.objects.filter(kid="").count()) == ("enforce", 1)
    assert state.mode_since is not None


def test_it_is_never_switched_off_silently(ready: Ready, caplog: pytest.LogCaptureFixture) -> None:
    lab, workflow = ready
    lab.send(workflow, "a")
    lab.settle()
    lab.configure(signing="off")
    lab.send(workflow, "a")
    assert Message.objects.get(sequence=2).signature
    assert "enforce is recorded and holds" in caplog.text
    Message.objects.filter(sequence=2).update(signature="")
    lab.publish(log.load_for_publishing([delivery_id(Message.objects.get(sequence=2).pk, 1)]))
    lab.work()
    assert reasons() == [("not_authentic", True)]
    changing.lower_mode(SigningMode.OFF, who="test", reason="a test")
    lab.send(workflow, "b")
    assert not Message.objects.get(sequence=3).signature


def test_reporting_handles_and_says_what_would_be_refused(ready: Ready, caplog: pytest.LogCaptureFixture) -> None:
    lab, workflow = ready
    lab.configure(signing="report")
    lab.send(workflow, "a")
    Message.objects.update(signature="")
    lab.publish(log.load_for_publishing([stored.id for stored in lab.take_offered()]))
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert "would be refused" in caplog.text


# --- entrances ---


def test_commands(ready: Ready, tmp_path: Any) -> None:
    lab, workflow = ready
    assert "no key yet" in run("nexus_keys", "list")[1]
    lab.send(workflow, "a")
    first = SigningKey.objects.get()
    call_command("nexus_keys", "rotate")
    call_command("nexus_keys", "revoke", first.kid, "--now")
    run("nexus_keys", "create", "--signer", "web", "--agents", "web")
    listed = json.loads(run("nexus_keys", "list", "--json")[1])
    assert [(row["state"], row["in_flight"], row["problem"]) for row in listed] == [
        ("revoked", 1, ""),
        ("active", 0, ""),
        ("pending", 0, ""),
    ]
    call_command("nexus_keys", "export", "--output", tmp_path / "jwks.json")
    exported = json.loads((tmp_path / "jwks.json").read_text())
    assert {key["kid"] for key in exported["keys"]} == {row["kid"] for row in listed[1:]}
    assert exported == Client().get("/keys/").json()
    assert all("d" not in key for key in exported["keys"])
    assert len(run("nexus_keys", "master")[1].strip()) == 64
    assert "Resealed: 3" in run("nexus_keys", "reseal")[1]
    assert "Everything" in run("nexus_verify")[1]
    Message.objects.update(source="b")
    with pytest.raises(SystemExit):
        call_command("nexus_verify", "--json")
    assert SigningKey.objects.filter(state=KeyState.ACTIVE).count() == 1
