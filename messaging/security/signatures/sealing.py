"""Private keys at rest: sealed under a master key, bound to their owner, name and purpose.

``KeyVault`` has the shape of a key management service: it seals, opens and certifies, and shows no master key. One that
asks a service outside takes the place of ``LocalVault`` (NEXUS_KEY_VAULT). ``RootVault`` is for hosts that are to check
keys and must not be able to make any: it has the public halves of the master keys' certificates only.
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
from messaging.security.signatures.algorithms import Algorithm, SigningPart, VerifyingPart, public_part

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
        self._roots = [_root(key) for key in keys]
        self._keys = {root_name(root): key for root, key in zip(self._roots, keys, strict=True)}
        self._current = root_name(self._roots[0])
        self._public = RootVault(self._roots)

    @property
    def roots(self) -> list[bytes]:
        """What hosts without a master key check certificates with (NEXUS_TRUSTED_ROOT); the current one first."""
        return list(self._roots)

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
        seed = _derive(self._keys[self._current], b"certify")
        return SigningPart.load(Algorithm.ED25519, seed).sign(_certified(facts))

    def certified(self, master: str, facts: Sequence[str], certificate: bytes) -> bool:
        return self._public.certified(master, facts, certificate)


class RootVault:
    """Checks certificates, and can neither open nor make anything.

    Args:
        roots: 32 bytes each, as ``nexus_keys root`` prints them.
    """

    def __init__(self, roots: Sequence[bytes]) -> None:
        try:
            self._parts = {root_name(root): VerifyingPart.load(Algorithm.ED25519, root) for root in roots}
        except (ValueError, CryptoError) as error:
            raise SigningKeyError(f"A trusted root is no public key: {error}. See manage.py nexus_keys root.") from None

    def seal(self, secret: bytes, context: Sequence[str]) -> Sealed:
        raise SigningKeyError(_NO_MASTER)

    def open(self, sealed: Sealed, context: Sequence[str]) -> bytes:
        raise SigningKeyError(_NO_MASTER)

    def knows(self, master: str) -> bool:
        return master in self._parts

    def certify(self, facts: Sequence[str]) -> bytes:
        raise SigningKeyError(_NO_MASTER)

    def certified(self, master: str, facts: Sequence[str], certificate: bytes) -> bool:
        part = self._parts.get(master)
        return part is not None and part.verify(_certified(facts), certificate)


_NO_MASTER = (
    "This process has no master key (NEXUS_TRUSTED_ROOT is set): it can check keys, and neither open nor make one. Do "
    "so where the master key is; here, sign with a key of its own (NEXUS_SIGNING_KEY_FILE)."
)


def root_name(root: bytes) -> str:
    """The name of a master key, by its public half."""
    return sha256(b"nexus root: " + root).hexdigest()[:16]


def _root(key: bytes) -> bytes:
    return public_part(Algorithm.ED25519, _derive(key, b"certify"))


def _certified(facts: Sequence[str]) -> bytes:
    return b"nexus certificate 1\n" + _bytes(facts)


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"nexus master key: " + purpose, sha256)


def _bytes(texts: Sequence[str]) -> bytes:
    return json.dumps(list(texts)).encode()
