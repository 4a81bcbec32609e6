"""Ed25519 public keys as others hand them over: a JWK (RFC 8037) or PEM (RFC 8410)."""

from __future__ import annotations

import base64
import binascii

from nacl.bindings import crypto_core_ed25519_is_valid_point

from messaging.core.errors import EnvelopeError, SigningKeyError
from messaging.core.strict_json import loads
from messaging.security.signatures.algorithms import KEY_BYTES
from messaging.security.signatures.encoding import from_base64url

MAX_KEY_TEXT = 10_000
_SPKI = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519, before the key's 32 bytes
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


def read_public_key(text: str) -> bytes:
    """The 32 bytes of a public key.

    Raises:
        SigningKeyError: it is none that can be used, or a private one.
    """
    text = text.strip()
    if len(text) > MAX_KEY_TEXT:
        raise SigningKeyError(f"A public key has at most {MAX_KEY_TEXT} characters; this has {len(text)}.")
    if "PRIVATE KEY" in text:
        raise SigningKeyError("This is a private key. It belongs to its sender alone: take the public one.")
    key = _from_pem(text) if text.startswith("-----") else _from_jwk(text)
    if len(key) != KEY_BYTES or not crypto_core_ed25519_is_valid_point(key):
        raise SigningKeyError("This is no Ed25519 public key: its bytes are no point that a private key could have.")
    return key


def _from_pem(text: str) -> bytes:
    if not text.startswith(_BEGIN) or not text.endswith(_END):
        raise SigningKeyError(f"A public key in PEM stands between {_BEGIN!r} and {_END!r}.")
    try:
        der = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SigningKeyError(f"The PEM cannot be read: {error}") from None
    if not der.startswith(_SPKI):
        raise SigningKeyError("This is no Ed25519 key. Make one: openssl genpkey -algorithm ed25519")
    return der[len(_SPKI) :]


def _from_jwk(text: str) -> bytes:
    try:
        key = loads(text.encode())
        if not isinstance(key, dict):
            raise SigningKeyError("A JWK is a JSON object, such as {'kty': 'OKP', 'crv': 'Ed25519', 'x': …}.")
        if "d" in key:
            raise SigningKeyError("This JWK has its private part (d). It belongs to its sender alone: leave it out.")
        if (key.get("kty"), key.get("crv")) != ("OKP", "Ed25519") or key.get("alg", "Ed25519") not in (
            "Ed25519",
            "EdDSA",
        ):
            raise SigningKeyError("Only keys with kty OKP and crv Ed25519 can be registered.")
        return from_base64url(key["x"])
    except (EnvelopeError, KeyError, TypeError, ValueError) as error:
        raise SigningKeyError(f"The key is neither PEM nor a JWK: {error}") from None
