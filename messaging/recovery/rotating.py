"""Keys by the calendar: a new one is made in time, an old signing key ends when its overlap is over. An old encryption
key goes on opening what it encrypted.

Each step is one transaction that asks again under the lock of all changes of keys, so a relay may be killed anywhere
and two relays do nothing twice.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.errors import SigningKeyError
from messaging.models import EncryptionKey, KeyState, SigningKey
from messaging.security.encryption import changing as encryption
from messaging.security.signatures import changing

logger = logging.getLogger("nexus.signing")

WHO = "relay (by schedule)"


def rotate_keys() -> int:
    """Replace keys that have signed for long enough, and end overlaps that are over. Returns how many changed."""
    settings, now, changed = get_settings(), timezone.now(), 0
    old = now - timedelta(seconds=settings.key_rotation_every)
    for key in SigningKey.objects.filter(state=KeyState.ACTIVE, activated_at__lte=old).order_by("pk"):
        if not key.sealed:
            continue  # its private half is on its own host, where the next one is made
        try:
            changed += changing.rotate(key.signer, who=WHO, expected=key.kid).kid != key.kid
        except SigningKeyError as error:
            logger.warning("The key %s of %r is to be replaced, and is not: %s", key.kid, key.signer, error)
    for secret in EncryptionKey.objects.filter(state=KeyState.ACTIVE, created_at__lte=old):
        try:
            changed += encryption.rotate(who=WHO, expected=secret.kid).created_at > now
        except SigningKeyError as error:
            logger.warning("The encryption key %s is to be replaced, and is not: %s", secret.kid, error)
    over = now - timedelta(seconds=settings.key_overlap)
    for key in SigningKey.objects.filter(state=KeyState.RETIRED, retired_at__lte=over).order_by("pk"):
        try:
            changing.expire(key.kid, who=WHO)
            changed += 1
        except SigningKeyError as error:  # another relay was first
            logger.info("%s", error)
    return changed
