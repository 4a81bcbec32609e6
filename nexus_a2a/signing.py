"""Signatures of agent cards: a JWS (RFC 7515) over the card in canonical form (JCS, RFC 8785), its section 8.4.

Two keys can sign: the one with which this process signs its messages (Ed25519, ``EdDSA``), and, for clients that know
the older curves only, a P-256 key of a file (``ES256``; needs the package ``cryptography``). Both are in ``key_set``.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from django.core.signals import setting_changed

from messaging.api import ConfigurationError
from messaging.extension import get_settings
from messaging.operating import jwk_set, sign_document, to_base64url

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, utils
except ImportError:  # the extra a2a brings it
    ec = None  # type: ignore[assignment]

COORDINATE_BYTES = 32


def canonical(value: Any) -> str:
    """A value as RFC 8785 writes it. A card has no numbers, which are the difficult part of it.

    >>> canonical({"b": ["é", True], "a": {}})
    '{"a":{},"b":["é",true]}'

    Raises:
        TypeError: it holds a number.
    """
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{canonical(name)}:{canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if value is None or isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"A card holds no {type(value).__name__}.")


def sign_card(card: dict[str, Any], key_url: str) -> list[dict[str, str]]:
    """The signatures of a card; none where signing is off or its keys have no public half.

    Args:
        card: without signatures.
        key_url: where ``key_set`` is found.

    Raises:
        ConfigurationError: the key file cannot be used.
        SigningKeyError: this process has a key and cannot use it.
    """
    payload = canonical(card).encode()
    signatures = []
    own = sign_document(payload, key_url)
    if own is not None:
        signatures.append({"protected": own[0], "signature": own[1]})
    key = _card_key(get_settings().a2a_card_key_file)
    if key is not None:
        members = {"alg": "ES256", "typ": "JOSE", "kid": _thumbprint(_jwk(key)), "jku": key_url}
        protected = to_base64url(canonical(members).encode())
        encoded = key.sign(f"{protected}.{to_base64url(payload)}".encode(), ec.ECDSA(hashes.SHA256()))
        halves = utils.decode_dss_signature(encoded)
        raw = b"".join(half.to_bytes(COORDINATE_BYTES, "big") for half in halves)
        signatures.append({"protected": protected, "signature": to_base64url(raw)})
    return signatures


def key_set() -> dict[str, Any]:
    """The public keys of cards as a JWK Set; Ed25519 by the name that clients of A2A know (``EdDSA``)."""
    keys = [{**key, "alg": "EdDSA"} for key in jwk_set()["keys"]]
    key = _card_key(get_settings().a2a_card_key_file)
    if key is not None:
        jwk = _jwk(key)
        keys.append({**jwk, "use": "sig", "alg": "ES256", "kid": _thumbprint(jwk)})
    return {"keys": keys}


@functools.cache
def _card_key(name: str) -> Any:
    if not name:
        return None
    if ec is None:
        raise ConfigurationError(
            "NEXUS_A2A_CARD_KEY_FILE needs the package cryptography: pip install 'nexus-reliable-messaging[a2a]'."
        )
    try:
        key = serialization.load_pem_private_key(Path(name).read_bytes(), password=None)
    except (OSError, TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"NEXUS_A2A_CARD_KEY_FILE: {name} cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ConfigurationError(
            f"NEXUS_A2A_CARD_KEY_FILE: {name} holds no P-256 key. Make one: openssl ecparam -name prime256v1 -genkey."
        )
    return key


def _jwk(key: Any) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    x, y = (to_base64url(number.to_bytes(COORDINATE_BYTES, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _thumbprint(jwk: dict[str, str]) -> str:
    """RFC 7638."""
    return to_base64url(hashlib.sha256(canonical(jwk).encode()).digest())


def _forget(*, setting: str, **_: object) -> None:
    if setting == "NEXUS":
        _card_key.cache_clear()


setting_changed.connect(_forget)
