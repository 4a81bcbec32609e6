"""Rows of keys: made, sealed, certified and opened."""

from __future__ import annotations

import uuid

from django.utils import timezone

from messaging.core.errors import SigningKeyError
from messaging.models import KeyState, SigningKey
from messaging.security.signatures.algorithms import KEY_BYTES, Algorithm, VerifyingPart, new_secret, public_part
from messaging.security.signatures.master import get_vault
from messaging.security.signatures.sealing import Sealed

PURPOSE = "sign messages"


def facts_of(row: SigningKey) -> list[str]:
    """What a key's certificate vouches for."""
    return [row.signer, row.kid, PURPOSE, row.agents, row.algorithm, bytes(row.public).hex()]


def open_secret(row: SigningKey) -> bytes:
    """The private part of a key.

    Raises:
        SigningKeyError: it does not open here.
    """
    return get_vault().open(Sealed(row.master, bytes(row.sealed)), [row.signer, row.kid, PURPOSE])


def build_key(signer: str, agents: str, algorithm: Algorithm, state: KeyState) -> SigningKey:
    """A new key, which is not stored yet."""
    secret, kid = new_secret(), _new_kid()
    sealed = get_vault().seal(secret, [signer, kid, PURPOSE])
    row = SigningKey(kid=kid, signer=signer, agents=agents, algorithm=algorithm.value)
    row.public, row.sealed, row.master = public_part(algorithm, secret), sealed.data, sealed.master
    return _stamped(row, state)


def register_key(signer: str, agents: str, public: bytes) -> SigningKey:
    """A row, which is not stored yet, for an Ed25519 key whose private half is elsewhere.

    Raises:
        SigningKeyError: these bytes are no public key.
    """
    try:
        VerifyingPart.load(Algorithm.ED25519, public)
    except (ValueError, TypeError) as error:
        raise SigningKeyError(f"--public: expected {2 * KEY_BYTES} hexadecimal digits: {error}") from None
    row = SigningKey(kid=_new_kid(), signer=signer, agents=agents, algorithm=Algorithm.ED25519.value)
    # What is sealed says which master key certifies the row; there is no private part to seal.
    row.public, row.sealed, row.master = public, b"", get_vault().seal(b"", [row.kid]).master
    return _stamped(row, KeyState.PENDING)


def _new_kid() -> str:
    return f"{timezone.now():%Y%m%d}-{uuid.uuid4().hex[:16]}"


def _stamped(row: SigningKey, state: KeyState) -> SigningKey:
    row.state, row.created_at = state, timezone.now()
    row.activated_at = row.created_at if state is KeyState.ACTIVE else None
    row.certificate = get_vault().certify(facts_of(row))
    return row
