"""A private key that only this process has, so that whoever takes over another host cannot sign with it.

``NEXUS_SIGNING_KEY`` or ``NEXUS_SIGNING_KEY_FILE``; the public half is registered where the master key is
(``nexus_keys register``). Several keys by commas: the one whose registered half is active signs.
"""

from __future__ import annotations

import functools
from pathlib import Path

from django.core.signals import setting_changed

from messaging.conf import get_settings
from messaging.security.signatures.algorithms import Algorithm, public_part
from messaging.security.signatures.master import parse_keys, read_keys

_COMMAND = "nexus_keys generate"


@functools.cache
def own_secrets() -> dict[bytes, bytes]:
    """Public half → private half; empty where this process signs with keys of the store.

    Raises:
        SigningKeyError: the setting or the file is malformed.
    """
    settings = get_settings()
    if settings.signing_key:
        secrets = parse_keys(settings.signing_key, "NEXUS_SIGNING_KEY", _COMMAND)
    elif settings.signing_key_file:
        secrets = read_keys(Path(settings.signing_key_file), "The signing key", _COMMAND)
    else:
        return {}
    return {public_part(Algorithm.ED25519, secret): secret for secret in secrets}


def _forget(*, setting: str, **_: object) -> None:
    if setting == "NEXUS":
        own_secrets.cache_clear()


setting_changed.connect(_forget)
