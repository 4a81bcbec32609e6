"""What operators do with encryption keys: noticed by every process and audited, as changes of signing keys are."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from messaging.core.errors import EncryptionKeyError
from messaging.models import EncryptionKey, KeyState, SigningState
from messaging.security.encryption import keys
from messaging.security.encryption.keys import PURPOSE, build_key, know
from messaging.security.signatures.changing import changing_keys
from messaging.security.signatures.master import get_vault


def find_key(kid: str) -> EncryptionKey | None:
    """A key by its name."""
    return EncryptionKey.objects.filter(pk=kid).first()


def rotate(*, who: str, expected: str = "") -> EncryptionKey:
    """Make a key and encrypt with it. The one before still opens what it encrypted.

    Args:
        who: for the audit.
        expected: the key that is to be replaced; nothing is done when another one is active by now. Empty for any.

    Returns:
        The active key.

    Raises:
        SigningKeyError: no master key is here.
    """
    with transaction.atomic():
        SigningState.objects.get_or_create(pk=1)
        SigningState.objects.select_for_update().get(pk=1)
        old = EncryptionKey.objects.filter(state=KeyState.ACTIVE).first()
        if expected and old is not None and old.kid != expected:
            return old
        row = build_key()
        with changing_keys(who, "created", row.kid, "encryption" + (f", in the place of {old.kid}" if old else "")):
            if old is not None:
                EncryptionKey.objects.filter(pk=old.kid).update(state=KeyState.RETIRED, retired_at=timezone.now())
            row.save(force_insert=True)
    keys.forget()
    return row


def retire(kid: str, *, who: str) -> None:
    """Encrypt no more with a key, without another one in its place: what has to be encrypted is not sent. It opens what
    it encrypted.

    Raises:
        EncryptionKeyError: it is not active.
    """
    _leave(kid, who, KeyState.RETIRED, (KeyState.ACTIVE,))


def revoke(kid: str, *, who: str) -> None:
    """Handle nothing more that a key encrypted, in flight or not. Who may read encrypted data still reads it.

    Raises:
        EncryptionKeyError: it is revoked already.
    """
    _leave(kid, who, KeyState.REVOKED, (KeyState.ACTIVE, KeyState.RETIRED))


def _leave(kid: str, who: str, state: KeyState, before: tuple[KeyState, ...]) -> None:
    with changing_keys(who, state.value, kid, "encryption"):
        at = {f"{state.value}_at": timezone.now()}
        if not EncryptionKey.objects.filter(pk=kid, state__in=before).update(state=state, **at):
            raise EncryptionKeyError(f"The encryption key {kid} cannot be {state.value}: see nexus_keys list.")
    keys.forget()


def reseal(*, who: str) -> int:
    """Bring every key under the current master key. Returns how many there are.

    Raises:
        EncryptionKeyError: one does not open; nothing was changed.
    """
    rows = list(EncryptionKey.objects.order_by("pk"))
    if not rows:
        return 0
    with changing_keys(who, "resealed", detail=f"{len(rows)} encryption keys"):
        for row in rows:
            sealed = get_vault().seal(know(row).require(), [row.kid, PURPOSE])
            row.sealed, row.master = sealed.data, sealed.master
            row.save(update_fields=["sealed", "master"])
    keys.forget()
    return len(rows)
