"""Private keys at rest: sealed under a master key, bound to their owner, name and purpose.

``KeyVault`` has the shape of a key management service: it seals, opens and certifies, and shows no master key. One that
asks a service outside takes the place of ``LocalVault``.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

from messaging.core.errors import SigningKeyError

MASTER_BYTES = 32


class Sealed(NamedTuple):
    """What may lie in a database.

    Args:
        master: which master key it is sealed under.
        data: nonce and ciphertext.
    """

    master: str
    data: bytes


class KeyVault(Protocol):
    """Holds master keys."""

    @property
    def current(self) -> str:
        """The name of the master key that seals and certifies."""

    def seal(self, secret: bytes, context: Sequence[str]) -> Sealed:
        """Encrypt a secret; it opens in the same context only."""

    def open(self, sealed: Sealed, context: Sequence[str]) -> bytes:
        """Decrypt a secret.

        Raises:
            SigningKeyError: another master key, another context, or damaged.
        """

    def knows(self, master: str) -> bool:
        """Whether this vault has a master key."""

    def certify(self, facts: Sequence[str]) -> bytes:
        """Vouch for facts, with the current master key."""

    def certified(self, master: str, facts: Sequence[str], certificate: bytes) -> bool:
        """Whether a holder of a master key vouched for facts."""


class LocalVault:
    """Master keys in this process's memory.

    Args:
        keys: 32 bytes each; the first seals, the others open what older ones sealed.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != MASTER_BYTES for key in keys):
            raise SigningKeyError(f"A master key has {MASTER_BYTES} bytes. Make one with: manage.py nexus_keys master")
        self._keys = {_name(key): key for key in keys}
        self._current = _name(keys[0])

    @property
    def current(self) -> str:
        return self._current

    def seal(self, secret: bytes, context: Sequence[str]) -> Sealed:
        nonce = os.urandom(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)
        key = _derive(self._keys[self._current], b"seal")
        data = crypto_aead_xchacha20poly1305_ietf_encrypt(secret, _bytes(context), nonce, key)
        return Sealed(self._current, nonce + data)

    def open(self, sealed: Sealed, context: Sequence[str]) -> bytes:
        if sealed.master not in self._keys:
            raise SigningKeyError(
                f"It is sealed under the master key {sealed.master}, which this process does not have. "
                "Give every process of the installation the same NEXUS_MASTER_KEY."
            )
        size = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
        key = _derive(self._keys[sealed.master], b"seal")
        try:
            return crypto_aead_xchacha20poly1305_ietf_decrypt(
                sealed.data[size:], _bytes(context), sealed.data[:size], key
            )
        except (CryptoError, ValueError):
            raise SigningKeyError(
                "Its private part does not open: the row is damaged, or was copied from another key's."
            ) from None

    def knows(self, master: str) -> bool:
        return master in self._keys

    def certify(self, facts: Sequence[str]) -> bytes:
        return _certificate(self._keys[self._current], facts)

    def certified(self, master: str, facts: Sequence[str], certificate: bytes) -> bool:
        key = self._keys.get(master)
        return key is not None and hmac.compare_digest(_certificate(key, facts), certificate)


def _name(key: bytes) -> str:
    return _derive(key, b"name").hex()[:16]


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"nexus master key: " + purpose, sha256)


def _certificate(key: bytes, facts: Sequence[str]) -> bytes:
    return hmac.digest(_derive(key, b"certify"), _bytes(facts), sha256)


def _bytes(texts: Sequence[str]) -> bytes:
    return json.dumps(list(texts)).encode()
