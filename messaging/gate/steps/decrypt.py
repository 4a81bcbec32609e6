"""decrypt: encrypted data become clear, once it is proven who sent them. What must be encrypted comes no other way."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.conf import get_settings
from messaging.core.errors import EncryptionKeyError, NotDecrypted
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop
from messaging.models import DeadReason
from messaging.security.encryption.keys import Opener
from messaging.security.encryption.payloads import decrypt_data, must_be_encrypted


def decrypt(passages: Sequence[Passage]) -> None:
    """Put clear data into the envelopes of encrypted ones. Where nothing is, and need not be, nothing is asked."""
    encrypted = []
    for passage in passages:
        if passage.encrypted is None and passage.envelope.is_encrypted:
            passage.encrypted = passage.envelope
        if passage.encrypted is not None:
            encrypted.append(passage)
        elif must_be_encrypted(passage.envelope.type) and get_settings().encryption == "enforce":
            passage.stop = Stop(Outcome.DEAD, DeadReason.NOT_DECRYPTED, _in_clear(passage.envelope.type))
    if encrypted:
        opener = Opener()
        for passage in encrypted:
            _decrypt(passage, opener)


def _decrypt(passage: Passage, opener: Opener) -> None:
    assert passage.encrypted is not None  # noqa: S101  # nosec B101
    try:
        passage.envelope, passage.clear = decrypt_data(passage.encrypted, opener)
    except EncryptionKeyError as error:  # its vault may be back soon, or another process has the master key
        passage.stop = Stop(Outcome.RETRY, DeadReason.NOT_DECRYPTED, str(error))
    except NotDecrypted as error:
        passage.stop = Stop(Outcome.DEAD, DeadReason.NOT_DECRYPTED, str(error))


def _in_clear(type: str) -> str:
    return (
        f"It came in clear, and messages of type {type!r} must be encrypted (NEXUS_ENCRYPTED_TYPES). Give every "
        "process that sends them the same setting. If it is legitimate, edit and replay it: it is encrypted then."
    )
