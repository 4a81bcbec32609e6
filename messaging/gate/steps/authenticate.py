"""authenticate: the sender said this, and to this recipient at this position.

The keys come from our store, by the name that the signature gives; what is allowed with a key is its row's business.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from uuid import UUID

from messaging import log
from messaging.conf import get_settings
from messaging.core.errors import BadSignature
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop
from messaging.models import DeadReason, SigningMode
from messaging.security.signatures import jws, keys
from messaging.security.signatures.changing import raise_mode
from messaging.security.signatures.routing import Place, routing_digest

logger = logging.getLogger("nexus.signing")

Places = Mapping[UUID, Mapping[UUID, Place]]


def authenticate(passages: Sequence[Passage]) -> None:
    """Verify every signature."""
    ring = keys.verifying()
    if ring.recorded.strictness < ring.mode.strictness:
        raise_mode(ring.mode, who=get_settings().signer)
        ring = keys.verifying()
    failed = _verify_all(passages, ring)
    for passage in passages:
        passage.keys = None
    if failed:
        _refuse(failed, enforce=ring.mode is SigningMode.ENFORCE)


def authenticate_in_advance(passages: Sequence[Passage]) -> None:
    """Verify every signature with the keys that this process knows; who handles them finds out in its transaction
    whether these are still the keys (``Passage.keys``). Nothing is refused by keys that may have changed.
    """
    ring = keys.remembered()
    if ring.recorded.strictness < ring.mode.strictness or _verify_all(passages, ring):
        authenticate(passages)
        return
    for passage in passages:
        passage.keys = ring.token


def _verify_all(passages: Sequence[Passage], ring: keys.Keyring) -> list[tuple[Passage, str, BadSignature]]:
    """Verify; return what failed, with the name of the key where that has ended."""
    if ring.mode.strictness < SigningMode.REPORT.strictness:
        return []
    groups = {passage.envelope.message_id for passage in passages if passage.envelope.position is None}
    places = log.read_places(groups) if groups else {}
    failed: list[tuple[Passage, str, BadSignature]] = []
    for passage in passages:
        try:
            key = _verify(passage, ring, places)
            if key.state in keys.ENDED:
                failed.append((passage, key.kid, BadSignature(_ended(key))))
        except BadSignature as error:
            failed.append((passage, "", error))
    return failed


def _verify(passage: Passage, ring: keys.Keyring, places: Places) -> keys.KnownKey:
    envelope = passage.envelope
    if not passage.signature:
        raise BadSignature("It has no signature. Does a process of an older version, or with NEXUS_SIGNING=off, send?")
    header = jws.verify(passage.signature, passage.body, ring.part_of)
    key = ring.keys[header.key]
    if not key.may_sign_for(envelope.source):
        raise BadSignature(f"The key {key.kid} of the process {key.signer!r} may not sign for {envelope.source!r}.")
    if envelope.position is not None:
        if header.to:
            raise BadSignature("It is signed as a group's message, and its envelope is a direct one's.")
        passage.place = (envelope.subject, envelope.position)
        return key
    stored = places.get(envelope.message_id, {})
    if (
        passage.delivery_id in stored
    ):  # otherwise the log has no such delivery, which is found out where it is looked up
        if header.to != routing_digest(stored.values()):
            raise BadSignature(
                f"The recipients and positions of the group message {envelope.message_id} in the log are not those "
                "that were signed: manage.py nexus_verify shows what differs."
            )
        passage.place = stored[passage.delivery_id]
    return key


def _ended(key: keys.KnownKey) -> str:
    return (
        f"Its key {key.kid} is {key.state.value}, and it was not in flight then. If it is legitimate, have its "
        "sender send it again; a process that still signs with this key wants a restart."
    )


def _refuse(failed: Sequence[tuple[Passage, str, BadSignature]], *, enforce: bool) -> None:
    exempt = log.read_exemptions({passage.envelope.message_id for passage, _, _ in failed})
    for passage, kid, error in failed:
        if kid or not passage.signature:
            fact = (kid, passage.envelope.message_id, sha256(passage.body).hexdigest())
            if fact in exempt:
                continue
        if not enforce:
            passage.place = None
            logger.warning("Delivery %s would be refused: %s", passage.delivery_id, error)
        elif isinstance(error, keys.KeyElsewhere):
            passage.stop = Stop(Outcome.RETRY, DeadReason.NOT_AUTHENTIC, str(error))
        else:
            passage.stop = Stop(Outcome.DEAD, DeadReason.NOT_AUTHENTIC, str(error))
