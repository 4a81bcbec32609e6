"""Whatever is done to a message on its way: through the receiving gate, nothing of it is handled, and the true one is.

``TAMPERED=20000 TAMPERED_SEED=7 pytest tests/contract/test_tampering.py -s`` is the long form; the seed is printed.
"""

from __future__ import annotations

import hmac
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import pytest

from messaging.core.messages import Outgoing
from messaging.core.outcome import Outcome
from messaging.log import StoredDelivery
from messaging.models import DeadLetter, DeadReason, Workflow
from messaging.security.signatures import changing, jws, keys
from messaging.security.signatures.encoding import from_base64url, to_base64url
from messaging.security.signatures.keys import MessageSigner
from messaging.security.signatures.trees import MAX_LEAVES
from tests.support import ledger
from tests.support.lab import Lab

COUNT = int(os.environ.get("TAMPERED", "300"))
A_WORKFLOW = 50


@dataclass(slots=True)
class Ground:
    """What an attacker may have: other messages, and keys.

    Args:
        choice: makes the test repeatable.
        others: messages that are in flight too.
        foreign: a valid key of a process that may not sign for the sender.
        revoked, expired: keys that were the sender's.
    """

    choice: random.Random
    others: list[StoredDelivery]
    foreign: MessageSigner
    revoked: MessageSigner
    expired: MessageSigner

    def other(self, stored: StoredDelivery) -> StoredDelivery:
        """Another message."""
        return self.choice.choice([one for one in self.choice.sample(self.others, 3) if one.id != stored.id])


def forged(stored: StoredDelivery, body: bytes | None = None, signature: str | None = None) -> StoredDelivery:
    """The same delivery with something else in it."""
    return StoredDelivery(
        stored.id,
        stored.workflow_id,
        stored.queue,
        stored.body if body is None else body,
        stored.signature if signature is None else signature,
    )


def changed(stored: StoredDelivery, **attributes: object) -> bytes:
    """The envelope with other attributes, written as ours are."""
    values = {**json.loads(stored.body), **attributes}
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()


def with_header(stored: StoredDelivery, sign: Callable[[bytes], bytes], **members: object) -> StoredDelivery:
    """The same bytes under another protected header."""
    old = json.loads(from_base64url(stored.signature.partition(".")[0]))
    header = to_base64url(json.dumps({**old, **members}, separators=(",", ":")).encode())
    return forged(stored, signature=f"{header}..{to_base64url(sign(jws.signing_input(header, stored.body)))}")


def flip(data: bytes, ground: Ground) -> bytes:
    """One bit differs."""
    place = ground.choice.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << ground.choice.randrange(8))]) + data[place + 1 :]


def public_as_secret(stored: StoredDelivery, ground: Ground) -> StoredDelivery:
    """The public key, which everybody has, as HMAC's secret."""
    public = bytes(changing.find_key(jws.read(stored.signature).key).public)
    return with_header(stored, lambda data: hmac.digest(public, data, sha256), alg="HS256")


def mutated_signature(stored: StoredDelivery, ground: Ground) -> StoredDelivery:
    header, _, signature = stored.signature.rpartition(".")
    return forged(stored, signature=f"{header}.{to_base64url(flip(from_base64url(signature), ground))}")


def position(stored: StoredDelivery) -> int:
    return int(json.loads(stored.body).get("position", 0))


FORGERIES: dict[str, Callable[[StoredDelivery, Ground], StoredDelivery]] = {
    "mutated": lambda stored, ground: forged(stored, flip(stored.body, ground)),
    "mutated signature": mutated_signature,
    "truncated": lambda stored, ground: forged(stored, stored.body[: ground.choice.randrange(len(stored.body))]),
    "truncated signature": lambda stored, ground: forged(
        stored, signature=stored.signature[: ground.choice.randrange(1, len(stored.signature))]
    ),
    "replayed elsewhere": lambda stored, ground: forged(ground.other(stored), stored.body, stored.signature),
    "re-addressed": lambda stored, ground: forged(
        stored, changed(stored, subject="b" if json.loads(stored.body)["subject"] == "a" else "a")
    ),
    "re-ordered": lambda stored, ground: forged(stored, changed(stored, position=position(stored) + 1)),
    "another sequence": lambda stored, ground: forged(stored, changed(stored, sequence=f"{10**6:020}")),
    "another sender": lambda stored, ground: forged(stored, changed(stored, source="b")),
    "other data": lambda stored, ground: forged(stored, changed(stored, data="evil")),
    "another's proof": lambda stored, ground: forged(
        stored,
        signature=f"{stored.signature.rpartition('.')[0]}.{ground.other(stored).signature.rpartition('.')[2]}",
    ),
    "another's signature": lambda stored, ground: forged(stored, signature=ground.other(stored).signature),
    "cross-signed": lambda stored, ground: forged(stored, signature=ground.foreign.sign(stored.body)),
    "revoked": lambda stored, ground: forged(stored, signature=ground.revoked.sign(stored.body)),
    "expired": lambda stored, ground: forged(stored, signature=ground.expired.sign(stored.body)),
    "public key as secret": public_as_secret,
    "alg none": lambda stored, ground: with_header(stored, lambda _: b"", alg="none"),
    "key of its own": lambda stored, ground: with_header(
        stored, ground.foreign.part.sign, jwk={"kty": "OKP", "crv": "Ed25519", "x": "AA"}
    ),
    "crit": lambda stored, ground: with_header(stored, ground.foreign.part.sign, crit=["b64"], b64=False),
    "group's signature": lambda stored, ground: with_header(stored, ground.foreign.part.sign, to="x"),
    "downgraded": lambda stored, ground: forged(stored, signature=""),
}


def signer_now() -> MessageSigner:
    keys.forget()
    found = keys.signing()
    assert found is not None
    return found


@pytest.mark.timeout(600)
def test_nothing_that_was_tampered_with_is_handled_and_everything_true_is(lab: Lab) -> None:
    seed = int(os.environ.get("TAMPERED_SEED") or random.randrange(2**32))
    began = time.monotonic()
    lab.agent("a")
    lab.agent("b")
    revoked = signer_now()
    changing.rotate("nexus", who="test")
    changing.revoke(revoked.key.kid, park=False, who="test")
    expired = signer_now()
    changing.rotate("nexus", who="test")
    changing.expire(expired.key.kid, who="test")
    changing.activate(changing.create(signer="foreign", agents="b", who="test").kid, who="test")
    lab.configure(signer="foreign")
    foreign = signer_now()
    lab.configure(signer="nexus")
    keys.forget()

    workflows = [lab.workflow() for _ in range(-(-COUNT // A_WORKFLOW))]
    choice, sent = random.Random(seed), 0
    while sent < COUNT:  # every other burst is one message, which is signed by itself
        burst = range(sent, min(COUNT, sent + choice.choice([1, choice.randint(2, MAX_LEAVES + 1)])))
        lab.bus.send_many(
            [
                Outgoing(
                    workflow_id=workflows[n % len(workflows)],
                    source="web",
                    recipient="ab"[n % 2],
                    type="test.message",
                    data={"n": n},
                )
                for n in burst
            ]
        )
        sent = burst.stop
    stored = lab.take_offered()
    ground = Ground(choice, stored, foreign, revoked, expired)
    names, made = list(FORGERIES), Counter[str]()
    outcomes = Counter[Outcome]()
    for start in range(0, COUNT, 100):
        batch = []
        for number, one in enumerate(stored[start : start + 100], start):
            name = names[number % len(names)]
            copy = FORGERIES[name](one, ground)
            assert (copy.id, copy.body, copy.signature) != (one.id, one.body, one.signature), name
            batch.append(copy)
            made[name] += 1
        lab.put(batch)
        outcomes += lab.work()
    for _ in range(10):
        outcomes += lab.work()
    assert outcomes == {Outcome.REJECTED: COUNT}
    assert not DeadLetter.objects.filter(delivery__isnull=False).exists()
    reasons = set(DeadLetter.objects.values_list("reason", flat=True))
    assert DeadReason.NOT_AUTHENTIC in reasons
    assert DeadReason.CHECK_FAILED not in reasons
    assert ledger.read() == []

    for start in range(0, COUNT, 500):
        lab.put(stored[start : start + 500])
        lab.work(6)
    lab.settle()
    handled = Counter(entry.delivery for entry in ledger.read())
    assert handled == Counter(one.id for one in stored)
    assert not Workflow.objects.exclude(status="running").exists()
    print(
        f"TAMPERED_SEED={seed}: 0 of {sum(made.values())} tampered handled, {len(handled)} of {COUNT} true ones, "
        f"{len(made)} ways, in {time.monotonic() - began:.0f} s"
    )
