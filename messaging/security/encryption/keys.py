"""What this process knows of the encryption keys: with which one it encrypts, and which ones open.

Only messages that are encrypted ask. Decrypting asks in each batch whether the keys are still the same (one small
statement); encrypting remembers for ``signatures.keys.REMEMBER`` seconds.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.errors import EncryptionKeyError, NotDecrypted, SigningKeyError
from messaging.models import EncryptionKey, KeyState, SigningChange
from messaging.security.encryption.jwe import ALGORITHM, KEY_BYTES
from messaging.security.signatures.keys import ASK_AGAIN, REMEMBER
from messaging.security.signatures.master import get_vault
from messaging.security.signatures.sealing import Sealed

logger = logging.getLogger("nexus.encryption")

PURPOSE = "encrypt data"


@dataclass(frozen=True, slots=True)
class KnownSecret:
    """A key as this process can use it.

    Args:
        kid, state: of its row.
        secret: encrypts and decrypts; None when it does not open here.
        problem: why not.
    """

    kid: str
    state: KeyState
    secret: bytes | None = field(repr=False)
    problem: str = ""

    def require(self) -> bytes:
        """The secret.

        Raises:
            EncryptionKeyError: it does not open in this process, at the moment.
        """
        if self.secret is None:
            raise EncryptionKeyError(f"The encryption key {self.kid} cannot be used here: {self.problem}")
        return self.secret


@dataclass(frozen=True, slots=True)
class SecretRing:
    """All keys at one moment.

    Args:
        token: of the stored keys.
        secrets: by name.
        read_at: when, by the monotonic clock.
    """

    token: UUID
    secrets: Mapping[str, KnownSecret]
    read_at: float = field(default_factory=monotonic)

    @property
    def active(self) -> KnownSecret | None:
        """The one that encrypts."""
        return next((one for one in self.secrets.values() if one.state is KeyState.ACTIVE), None)

    def is_current(self, token: UUID) -> bool:
        """Whether it need not be read again."""
        certain = monotonic() - self.read_at < ASK_AGAIN or not any(one.problem for one in self.secrets.values())
        return self.token == token and certain


class Opener:
    """Finds what opens messages, by the keys as they are now; one for each batch."""

    def __init__(self) -> None:
        self._ring = _current_ring()
        self._is_fresh = False

    def secret_of(self, kid: str, *, for_a_person: bool = False) -> bytes:
        """What opens the messages of a key.

        Args:
            kid: its name.
            for_a_person: who may read encrypted data reads those of a revoked key too; nobody handles them.

        Raises:
            NotDecrypted: there is no such key, or it was revoked.
            EncryptionKeyError: it does not open in this process, at the moment.
        """
        if kid not in self._ring.secrets and not self._is_fresh:  # a first key renews no token
            self._ring, self._is_fresh = _remember(read_ring(self._ring.token)), True
        known = self._ring.secrets.get(kid)
        if known is None:
            raise NotDecrypted(f"Its key {kid!r} is not stored here. Where its row was lost, put it back and replay.")
        if known.state is KeyState.REVOKED and not for_a_person:
            raise NotDecrypted(
                f"Its key {kid} is revoked. If the message is legitimate, have its sender send it again, or edit and "
                "replay it: it is encrypted with the present key then."
            )
        return known.require()


class _Remembered:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.uncommitted: set[str] = set()
        self.forget()

    def forget(self) -> None:
        self.ring: SecretRing | None = None
        self.asked_at = float("-inf")


_remembered = _Remembered()


def forget() -> None:
    """Read the keys anew at the next question."""
    with _remembered.lock:
        _remembered.forget()


def _current_ring() -> SecretRing:
    token = log.read_signing_token()
    with _remembered.lock:
        ring = _remembered.ring
    return ring if ring is not None and ring.is_current(token) else _remember(read_ring(token))


def encrypting() -> KnownSecret:
    """What this process encrypts with. The first encrypted message of an installation makes it, in the transaction
    that is open.

    Raises:
        EncryptionKeyError: there is none, or it does not open here.
    """
    with _remembered.lock:
        ring, fresh = _remembered.ring, monotonic() - _remembered.asked_at < REMEMBER
    if ring is None or not fresh:
        ring = _current_ring()
    if ring.active is None:
        ring = _remember(read_ring(ring.token))
    if not ring.secrets:
        _make_first_key()
        ring = _remember(read_ring(log.read_signing_token()))
    active = ring.active
    if active is None:
        raise EncryptionKeyError("No encryption key is active. Make one: manage.py nexus_keys rotate --encryption")
    active.require()
    return active


def read_ring(token: UUID) -> SecretRing:
    """Read all keys."""
    return SecretRing(token, {row.kid: know(row) for row in EncryptionKey.objects.all()})


def know(row: EncryptionKey) -> KnownSecret:
    """Make of a stored key what this process can use."""
    try:
        secret = get_vault().open(Sealed(row.master, bytes(row.sealed)), [row.kid, PURPOSE])
    except SigningKeyError as error:  # a key service may be back soon, another process may have the master key
        return KnownSecret(row.kid, KeyState(row.state), None, str(error))
    return KnownSecret(row.kid, KeyState(row.state), secret)


def build_key() -> EncryptionKey:
    """A new key, which is not stored yet.

    Raises:
        SigningKeyError: no master key is here.
    """
    now = timezone.now()
    kid = f"e{now:%Y%m%d}-{uuid.uuid4().hex[:16]}"
    sealed = get_vault().seal(os.urandom(KEY_BYTES), [kid, PURPOSE])
    return EncryptionKey(
        kid=kid, algorithm=ALGORITHM, sealed=sealed.data, master=sealed.master, state=KeyState.ACTIVE, created_at=now
    )


def _remember(ring: SecretRing) -> SecretRing:
    """Keep what was read, unless it holds a key whose transaction may still be rolled back."""
    if not _remembered.uncommitted & ring.secrets.keys():
        with _remembered.lock:
            _remembered.ring, _remembered.asked_at = ring, monotonic()
    return ring


def _make_first_key() -> None:
    """Another process may do so at the same time: one row wins."""
    row = build_key()
    with transaction.atomic():
        EncryptionKey.objects.bulk_create([row], ignore_conflicts=True)
        if not EncryptionKey.objects.filter(pk=row.kid).exists():
            return
        _remembered.uncommitted.add(row.kid)
        transaction.on_commit(lambda: _remembered.uncommitted.discard(row.kid))
        SigningChange.objects.create(
            at=timezone.now(), who=get_settings().signer, what="created", kid=row.kid, detail="the first encryption key"
        )
    logger.info("Made the first encryption key, %s.", row.kid)
