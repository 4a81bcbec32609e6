"""The public keys as a JWK Set (RFC 7517, RFC 8037). HMAC keys have no public part and never appear."""

from __future__ import annotations

from typing import Any

from messaging.models import KeyState, SigningKey
from messaging.security.signatures.algorithms import Algorithm
from messaging.security.signatures.encoding import to_base64url


def jwk_set() -> dict[str, list[dict[str, Any]]]:
    """Every public key that verifies something; what is revoked or expired is left out."""
    rows = (
        SigningKey.objects.filter(algorithm=Algorithm.ED25519)
        .exclude(state__in=(KeyState.REVOKED, KeyState.EXPIRED))
        .order_by("pk")
    )
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "use": "sig",
                "alg": Algorithm.ED25519.value,
                "kid": row.kid,
                "x": to_base64url(bytes(row.public)),
            }
            for row in rows
        ]
    }
