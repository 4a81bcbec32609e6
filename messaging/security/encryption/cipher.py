"""AES key wrap (RFC 3394) and AES-GCM, by ``cryptography``. Who encrypts nothing does not import this."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from messaging.core.errors import NotDecrypted
from messaging.security.encryption.jwe import KEY_BYTES, NONCE_BYTES, TAG_BYTES, JweHeader, JweParts, protect


def encrypt(clear: bytes, secret: bytes, header: JweHeader) -> JweParts:
    """Encrypt bytes under a content key of their own.

    Args:
        clear: of any length.
        secret: the key that wraps the content key, ``KEY_BYTES`` long.
        header: is authenticated with them, and stays readable.
    """
    content_key, nonce, protected = os.urandom(KEY_BYTES), os.urandom(NONCE_BYTES), protect(header)
    sealed = AESGCM(content_key).encrypt(nonce, clear, protected.encode())
    return JweParts(protected, aes_key_wrap(secret, content_key), nonce, sealed[:-TAG_BYTES], sealed[-TAG_BYTES:])


def decrypt(parts: JweParts, secret: bytes) -> bytes:
    """Decrypt what ``read`` took apart.

    Raises:
        NotDecrypted: another key, or a single bit was changed.
    """
    try:
        content_key = aes_key_unwrap(secret, parts.wrapped)
        return AESGCM(content_key).decrypt(parts.nonce, parts.ciphertext + parts.tag, parts.protected.encode())
    except (InvalidUnwrap, InvalidTag, ValueError):
        raise NotDecrypted("The data do not open with their key: they were changed, or it is another's.") from None
