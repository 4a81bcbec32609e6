"""Types that ask for encryption: their data are in clear in handlers only; what does not open is not handled."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from messaging.api import Envelope, HandlerContext, TerminalError
from messaging.core.envelope import parse_envelope
from messaging.core.errors import ConfigurationError, EncryptionKeyError
from messaging.core.outcome import Outcome
from messaging.models import DeadLetter, EncryptionKey, Entrance, Message, SigningChange, Timer
from messaging.operators.acts import Actor
from messaging.operators.editing import edit_and_replay
from messaging.operators.forking import fork
from messaging.operators.verifying import verify_log
from messaging.recovery.rotating import rotate_keys
from messaging.security.encryption import changing, keys
from messaging.security.signatures import keys as signing
from messaging.sending.schedules import schedule
from messaging.transport import wire
from tests.support.lab import Lab

SECRET = "the-patient-is-Ada-Lovelace"
ANN = Actor("ann", Entrance.ADMIN)


@pytest.fixture(autouse=True)
def encrypted(lab: Lab) -> None:
    lab.configure(encrypted_types="test.message, medical.*", edit_and_replay="on")
    seen.clear()


seen: list[Any] = []


def see(message: Envelope, context: HandlerContext) -> None:
    seen.append(message.data)


def report(number: int = 1) -> dict[str, Any]:
    return {"text": SECRET, "number": number}


def tables_with(text: str) -> list[str]:
    """Tables in which any column of any row has a text, in whatever form it is stored."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            values = [bytes(v) if isinstance(v, memoryview) else str(v).encode() for row in cursor for v in row]
            if any(text.encode() in value for value in values):
                found.append(table)
    return found


def test_only_the_handler_sees_the_data(lab: Lab) -> None:
    """Direct messages, groups, leased agents, timers and replies; nothing in clear in any table or on the broker."""
    for name, leased in (("a", False), ("b", False), ("slow", True)):
        lab.agent(name, see, leased=leased)
    lab.bus.create_group("ward", ["a", "b"])
    workflow = lab.workflow()
    for recipient in ("a", "slow", "ward"):
        lab.send(workflow, recipient, report())
    lab.bus.send(workflow, "a", "plain.message", {"open": 1}, sender="web")
    lab.bus.send(workflow, "a", "medical.report", report(), sender="web", delay=30)
    (timer,) = Timer.objects.all()
    assert SECRET not in bytes(timer.envelope).decode()
    offered = lab.take_offered()
    assert not any(SECRET.encode() in wire.delivery_message(one).body for one in offered)
    lab.publish(offered)
    lab.settle()
    lab.until(lambda: not Timer.objects.exists(), step=30.0)
    lab.settle()
    assert [data for data in seen if data != {"open": 1}] == [report()] * 5
    assert {"open": 1} in seen
    assert tables_with(SECRET) == []
    assert list(verify_log()) == []
    envelopes = [parse_envelope(bytes(row.envelope), max_bytes=10**6) for row in Message.objects.order_by("sequence")]
    assert [one.is_encrypted for one in envelopes] == [True, True, True, False, True]
    assert SigningChange.objects.filter(what="created").count() == 2
    assert EncryptionKey.objects.count() == 1


def test_a_reply_is_read_by_whoever_waits_for_it(lab: Lab) -> None:
    def answer(message: Envelope, context: HandlerContext) -> None:
        context.reply({"answer": SECRET}, type="medical.answer")

    lab.agent("doctor", answer)
    request = lab.send(lab.workflow(), "doctor", report())
    lab.settle()
    assert lab.bus.wait_for_reply(request, 5.0).data == {"answer": SECRET}
    assert tables_with(SECRET) == []


def test_messages_as_long_as_they_may_be(lab: Lab) -> None:
    lab.agent("a", see)
    workflow = lab.workflow()
    long = "ä" * 100_000 + "x" * 60_000
    lab.send(workflow, "a", long)
    lab.settle()
    assert seen == [long]


def test_a_key_that_was_rotated_opens_what_is_in_flight(lab: Lab) -> None:
    lab.agent("a", see)
    workflow = lab.workflow()
    lab.send(workflow, "a", report(1))
    first = EncryptionKey.objects.get()
    changing.rotate(who="ann")
    lab.send(workflow, "a", report(2))
    lab.clock.advance(100 * 86_400.0)
    assert rotate_keys() >= 2  # both kinds of keys, by the calendar
    keys.forget()
    lab.send(workflow, "a", report(3))
    lab.settle()
    assert seen == [report(1), report(2), report(3)]
    states = list(EncryptionKey.objects.order_by("created_at").values_list("state", flat=True))
    assert (states, first.kid in bytes(Message.objects.get(sequence=2).envelope).decode()) == (
        ["retired", "retired", "active"],
        False,
    )


def test_a_revoked_key_opens_nothing_and_a_person_sends_it_anew(lab: Lab) -> None:
    lab.agent("a", see)
    workflow = lab.workflow()
    lab.send(workflow, "a", report())
    old = EncryptionKey.objects.get()
    changing.rotate(who="ann")
    changing.revoke(old.kid, who="ann")
    lab.settle()
    letter = DeadLetter.objects.get()
    assert (letter.reason, seen, "is revoked" in letter.detail) == ("not_decrypted", [], True)
    assert SECRET not in letter.detail
    edit_and_replay(letter.pk, report(), actor=ANN, reason="the key was lost with a laptop")
    lab.settle()
    assert seen == [report()]
    assert tables_with(SECRET) == []


def forge(lab: Lab, message: UUID, data: str | dict[str, Any], **changes: Any) -> None:
    """Give a stored message other data, signed rightly: what somebody with a signing key and no other can do."""
    row = Message.objects.get(pk=message)
    envelope = json.loads(bytes(row.envelope)) | {"data": data} | changes
    row.envelope = json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode()
    signer = signing.signing()
    assert signer is not None
    row.signature = signer.sign(row.envelope)
    row.save()
    lab.take_offered()


def data_of(message: UUID) -> str:
    return str(json.loads(bytes(Message.objects.get(pk=message).envelope))["data"])


@pytest.mark.parametrize(
    ("part", "says"), [(0, "no JWE"), (1, "do not open"), (2, "do not open"), (3, "do not open"), (4, "do not open")]
)
def test_a_changed_text_is_not_handled_and_the_worker_lives(lab: Lab, part: int, says: str) -> None:
    lab.agent("a", see)
    message = lab.send(lab.workflow(), "a", report())
    parts = data_of(message).split(".")
    parts[part] = ("B" if parts[part][0] != "B" else "C") + parts[part][1:]
    forge(lab, message, ".".join(parts))
    lab.send(lab.workflow(), "a", report(2))
    lab.settle()
    letter = DeadLetter.objects.get()
    assert (letter.reason, says in letter.detail, seen) == ("not_decrypted", True, [report(2)])


def test_data_that_were_made_for_another_message(lab: Lab) -> None:
    lab.agent("a", see)
    lab.agent("thief", see)
    loot = lab.send(lab.workflow(), "a", report())
    lab.settle()
    seen.clear()
    message = lab.send(lab.workflow(), "thief", {})
    forge(lab, message, data_of(loot))
    lab.settle()
    assert (seen, "were encrypted for a message" in DeadLetter.objects.get().detail) == ([], True)


def test_what_comes_in_clear_is_refused(lab: Lab) -> None:
    """A type that asks for encryption is not handled in clear: neither sent so, nor changed back."""
    lab.agent("a", see)
    message = lab.send(lab.workflow(), "a", report())
    forge(lab, message, {"text": "ordered"}, datacontenttype="application/json")
    lab.configure(encrypted_types="")
    lab.send(lab.workflow(), "a", report(2))
    lab.configure(encrypted_types="test.*", edit_and_replay="on")
    lab.settle()
    letters = list(DeadLetter.objects.order_by("pk"))
    assert ([one.reason for one in letters], seen) == (["not_decrypted"] * 2, [])
    edit_and_replay(letters[1].pk, report(2), actor=ANN, reason="an old process sent it")
    lab.settle()
    assert seen == [report(2)]
    lab.configure(encrypted_types="", encryption="enforce")
    lab.send(lab.workflow(), "a", report(3))
    lab.configure(encrypted_types="test.*", encryption="accept")
    lab.settle()
    assert seen == [report(2), report(3)]


def test_a_master_key_that_is_elsewhere_delays_and_loses_nothing(lab: Lab) -> None:
    lab.configure(master_key="aa" * 32, encrypted_types="test.*", signing="off")
    signing.forget()
    lab.agent("a", see)
    workflow = lab.workflow()
    lab.send(workflow, "a", report())
    lab.configure(master_key="bb" * 32)
    keys.forget()
    with pytest.raises(EncryptionKeyError, match="master key"):
        lab.send(workflow, "a", report(2))
    lab.publish()
    assert lab.work() == {Outcome.RETRY: 1}
    lab.configure(master_key="bb" * 32 + "," + "aa" * 32)
    keys.forget()
    lab.settle()
    assert (seen, DeadLetter.objects.count()) == ([report()], 0)
    assert changing.reseal(who="ann") == 1
    lab.configure(master_key="bb" * 32)
    keys.forget()
    lab.send(workflow, "a", report(3))
    lab.settle()
    assert seen == [report(), report(3)]


def test_a_key_that_was_rolled_back_is_not_used_again(lab: Lab) -> None:
    lab.agent("a", see)
    workflow = lab.workflow()
    with transaction.atomic():
        lab.send(workflow, "a", report())
        transaction.set_rollback(True)
    assert EncryptionKey.objects.count() == 0
    lab.take_offered()
    lab.send(workflow, "a", report(2))
    lab.settle()
    assert seen == [report(2)]


def test_handlers_that_fail_dead_letters_and_forks(lab: Lab) -> None:
    """A handler that changes its message's data and fails gets them anew; dead letters and forks have ciphertext."""

    def spoil(message: Envelope, context: HandlerContext) -> None:
        seen.append(message.data["number"])
        message.data["number"] += 10
        raise RuntimeError("not yet") if context.attempt < 2 else TerminalError("never")

    lab.agent("a", spoil)
    lab.agent("b", see)
    workflow = lab.workflow()
    lab.send(workflow, "b", report(5))
    lab.send(workflow, "a", report())
    lab.settle()
    assert {one for one in seen if isinstance(one, int)} == {1}
    letter = DeadLetter.objects.get()
    assert SECRET not in bytes(letter.body).decode()
    made = fork(workflow, after=1)
    copied = Message.objects.get(workflow=made.workflow, sequence=1)
    assert parse_envelope(bytes(copied.envelope), max_bytes=10**6).is_encrypted
    assert list(verify_log()) == []
    assert tables_with(SECRET) == []


def test_a_schedule_would_keep_its_data_in_clear(lab: Lab) -> None:
    with pytest.raises(ConfigurationError, match="keeps its data in clear"):
        schedule("daily", recipient="a", type="medical.report", data=report(), sender="web", every=60.0)
    schedule("daily", recipient="a", type="medical.report", sender="web", every=60.0)


def test_nothing_is_asked_where_nothing_is_encrypted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.configure(encrypted_types="medical.*")
    monkeypatch.setattr(keys, "read_ring", None)
    monkeypatch.setattr(keys, "_current_ring", None)
    lab.agent("a", see)
    lab.send(lab.workflow(), "a", report())
    lab.settle()
    assert seen == [report()]
