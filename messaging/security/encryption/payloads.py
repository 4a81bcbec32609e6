"""Encrypting the data of envelopes, and opening them."""

from __future__ import annotations

from typing import Any

from messaging.conf import get_settings
from messaging.core.envelope import Envelope, with_ciphertext, with_clear_data
from messaging.core.errors import EnvelopeError, NotDecrypted
from messaging.security.encryption.jwe import JweHeader, read, write
from messaging.security.encryption.keys import KnownSecret, Opener
from messaging.security.signatures.uses import count_use

HIDDEN = "encrypted"
"""What stands where data are shown to those who may not read them."""


def must_be_encrypted(type: str) -> bool:
    """Whether messages of a type are encrypted."""
    types = get_settings().types_to_encrypt
    return bool(types) and types.cover(type)


def encrypt_data(body: bytes, key: KnownSecret) -> bytes:
    """An envelope with its data encrypted.

    Args:
        body: of an envelope with data in clear.
        key: see ``keys.encrypting``.
    """
    from messaging.security.encryption import cipher

    def encrypt(envelope: Envelope, clear: bytes) -> str:
        header = JweHeader(key.kid, envelope.source, envelope.subject, envelope.type)
        return write(cipher.encrypt(clear, key.require(), header))

    count_use(key.kid, get_settings().signer)
    return with_ciphertext(body, encrypt)


def open_data(envelope: Envelope, *, for_a_person: bool = False) -> Envelope:
    """The envelope with its data in clear; the same one where they are.

    Args:
        envelope: of the log, whose signature is somebody else's business.
        for_a_person: who may read encrypted data; see ``Opener.secret_of``.

    Raises:
        NotDecrypted: they do not open.
        EncryptionKeyError: their key does not open in this process, at the moment.
    """
    if not envelope.is_encrypted:
        return envelope
    return decrypt_data(envelope, Opener(), for_a_person=for_a_person)[0]


def decrypt_data(envelope: Envelope, opener: Opener, *, for_a_person: bool = False) -> tuple[Envelope, bytes]:
    """An encrypted envelope with its data in clear, and these as JSON.

    Raises:
        NotDecrypted: they do not open, or were encrypted for another sender, recipient or type.
        EncryptionKeyError: their key does not open in this process, at the moment.
    """
    from messaging.security.encryption import cipher

    header, parts = read(envelope.data)
    clear = cipher.decrypt(parts, opener.secret_of(header.key, for_a_person=for_a_person))
    if header[1:] != (envelope.source, envelope.subject, envelope.type):
        raise NotDecrypted(
            f"The data were encrypted for a message of type {header.type!r} from {header.source!r} to "
            f"{header.recipient!r}: somebody put them into this one."
        )
    try:
        return with_clear_data(envelope, clear), clear
    except EnvelopeError as error:
        raise NotDecrypted(f"The data open, and are no JSON: {error.problem}.") from None


def shown_data(envelope: Envelope) -> Any:
    """The data for those who may not read encrypted ones."""
    return HIDDEN if envelope.is_encrypted else envelope.data
