"""Messages under one signature, on both databases: what holds for one signed by itself holds for each of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from messaging import log
from messaging.core.messages import Outgoing
from messaging.core.outcome import Outcome
from messaging.models import DeadLetter, Message, SigningExemption, SigningKey
from messaging.security.signatures import changing
from tests.contract.test_signatures import (
    Ready,
    _no_signature,
    _other_body,
    _other_message,
    _other_signature,
    assert_not_handled_when_swapped,
    problems,
    ready,
    reasons,
)
from tests.support.lab import Lab

__all__ = ["ready"]


def burst(lab: Lab, workflow: UUID, *recipients: str) -> None:
    options: dict[str, Any] = {"workflow_id": workflow, "source": "web", "type": "test.message", "data": "good"}
    lab.bus.send_many([Outgoing(recipient=recipient, **options) for recipient in recipients])
    signatures = list(Message.objects.filter(workflow_id=workflow).values_list("signature", flat=True))
    assert len({text.rpartition(".")[0] for text in signatures}) == 1, "one signature"
    assert {text.count(".") for text in signatures} == {3}


def test_a_burst_has_one_signature_and_all_of_it_is_handled(ready: Ready) -> None:
    lab, workflow = ready
    burst(lab, workflow, "a", "both", "b", "both", "a")
    assert problems() == ""
    key = SigningKey.objects.get()
    assert len(changing.messages_in_flight(changing.signed_with(key))) == 5, "a revocation finds each"
    lab.publish()
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 4, 5]
    assert lab.ledger.handled(workflow, "b") == [2, 3, 4]


def _other_proof(stored: log.StoredDelivery, other: log.StoredDelivery) -> log.StoredDelivery:
    head, proof = stored.signature.rpartition(".")[0], other.signature.rpartition(".")[2]
    return log.StoredDelivery(stored.id, stored.workflow_id, stored.queue, stored.body, f"{head}.{proof}")


def _no_proof(stored: log.StoredDelivery, other: log.StoredDelivery) -> log.StoredDelivery:
    head = stored.signature.rpartition(".")[0]
    return log.StoredDelivery(stored.id, stored.workflow_id, stored.queue, stored.body, head)


@pytest.mark.parametrize("to", ["a", "both"])
@pytest.mark.parametrize(
    "forge", [_other_body, _no_signature, _other_signature, _other_message, _other_proof, _no_proof]
)
def test_a_forged_copy_is_refused_though_its_head_is_known(
    ready: Ready, to: str, forge: Callable[[log.StoredDelivery, log.StoredDelivery], log.StoredDelivery]
) -> None:
    lab, workflow = ready
    burst(lab, workflow, "b", to, "b")
    known, *rest = lab.take_offered()
    lab.publish([known])
    lab.work()  # the worker has verified the head of all of them
    assert lab.ledger.handled(workflow, "b") == [1]
    lab.put([forge(rest[0], known)])
    assert lab.work() == {Outcome.REJECTED: 1}
    assert lab.ledger.handled(workflow, "a") == []
    lab.publish(rest)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [2]
    assert [found for _, found in reasons()] == [False]


def test_a_row_of_a_burst_that_was_changed_is_not_handled_and_reported(ready: Ready) -> None:
    lab, workflow = ready
    burst(lab, workflow, "a", "b")
    first, second = lab.take_offered()
    row = Message.objects.get(sequence=2)
    Message.objects.filter(pk=row.pk).update(envelope=bytes(row.envelope).replace(b'"good"', b'"evil"'))
    assert "not those that were signed" in problems()
    lab.publish([first])
    lab.work()
    lab.publish(log.load_for_publishing([second.id]))
    lab.work()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert lab.ledger.handled(workflow, "b") == []
    assert reasons() == [("not_authentic", True)]


def test_a_group_of_a_burst_whose_members_were_swapped_is_not_handled(ready: Ready) -> None:
    lab, workflow = ready
    burst(lab, workflow, "both", "both")
    for_a, for_b, *_ = lab.take_offered()
    assert_not_handled_when_swapped(lab, workflow, for_a, for_b)


def test_a_known_head_counts_for_nothing_once_its_key_is_revoked(ready: Ready) -> None:
    lab, workflow = ready
    burst(lab, workflow, "a", "a", "b")
    first, *rest = lab.take_offered()
    lab.publish([first])
    lab.work()
    key = SigningKey.objects.get()
    changing.rotate("nexus", who="test")
    assert changing.revoke(key.kid, park=False, who="test") == (2, [])
    exempt = SigningExemption.objects.get(message=Message.objects.get(sequence=2).pk)
    SigningExemption.objects.exclude(pk=exempt.pk).delete()  # as if the third had been stored after the revocation
    lab.publish(rest[:1])
    lab.work()
    lab.publish(rest[1:])
    lab.work()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert lab.ledger.handled(workflow, "b") == []
    assert "is revoked" in DeadLetter.objects.get().detail
