"""Signing and verifying bytes: Ed25519 (RFC 8032, by libsodium) and HMAC-SHA256.

With HMAC the secret that verifies also signs: every process that can check a message can forge one.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey as Ed25519Private
from nacl.signing import VerifyKey as Ed25519Public

KEY_BYTES = 32
_LENGTHS = {"Ed25519": 64, "HS256": 32}


class Algorithm(StrEnum):
    """As JWS names them (RFC 9864, RFC 7518)."""

    ED25519 = "Ed25519"
    HS256 = "HS256"


def new_secret() -> bytes:
    """What a new key is made of: an Ed25519 seed or an HMAC secret."""
    return os.urandom(KEY_BYTES)


def public_part(algorithm: Algorithm, secret: bytes) -> bytes:
    """What may be shown to everybody; empty for HMAC, which has no such part."""
    return bytes(Ed25519Private(secret).verify_key) if algorithm is Algorithm.ED25519 else b""


@dataclass(slots=True)
class SigningPart:
    """Signs bytes.

    Args:
        algorithm: of the key.
        secret: seed or HMAC secret; never shown.
    """

    algorithm: Algorithm
    _secret: bytes | Ed25519Private

    @classmethod
    def load(cls, algorithm: Algorithm, secret: bytes) -> SigningPart:
        """Make one of a stored secret."""
        return cls(algorithm, Ed25519Private(secret) if algorithm is Algorithm.ED25519 else secret)

    def __repr__(self) -> str:
        return f"SigningPart({self.algorithm.value})"

    def sign(self, data: bytes) -> bytes:
        """The signature of some bytes."""
        if isinstance(self._secret, Ed25519Private):
            return self._secret.sign(data).signature
        return hmac.digest(self._secret, data, sha256)


@dataclass(slots=True)
class VerifyingPart:
    """Verifies bytes. The algorithm is the key's, never the message's.

    Args:
        algorithm: of the key.
        key: its public part, or the HMAC secret.
    """

    algorithm: Algorithm
    _key: bytes | Ed25519Public

    @classmethod
    def load(cls, algorithm: Algorithm, key: bytes) -> VerifyingPart:
        """Make one of a stored public part (Ed25519) or secret (HMAC)."""
        return cls(algorithm, Ed25519Public(key) if algorithm is Algorithm.ED25519 else key)

    def __repr__(self) -> str:
        return f"VerifyingPart({self.algorithm.value})"

    @property
    def public(self) -> bytes:
        """What may be shown to everybody; empty for HMAC."""
        return b"" if isinstance(self._key, bytes) else bytes(self._key)

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether this key's owner signed these bytes."""
        if len(signature) != _LENGTHS[self.algorithm]:
            return False
        if isinstance(self._key, bytes):
            return hmac.compare_digest(hmac.digest(self._key, data, sha256), signature)
        try:
            self._key.verify(data, signature)
        except BadSignatureError:
            return False
        return True
