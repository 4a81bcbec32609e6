"""Signing what is no message, such as an agent card, with the key of this process.

The protected header names a type and a key set, which no message's may: such a signature never passes for a message's.
"""

from __future__ import annotations

import json

from messaging.security.signatures import keys
from messaging.security.signatures.algorithms import Algorithm
from messaging.security.signatures.encoding import to_base64url
from messaging.security.signatures.jws import signing_input
from messaging.security.signatures.uses import count_use


def sign_document(payload: bytes, key_url: str) -> tuple[str, str] | None:
    """Sign bytes as a detached JWS (RFC 7515), by the algorithm's older and commoner name, ``EdDSA``.

    Args:
        payload: the exact bytes.
        key_url: where verifiers find the public keys (``jku``).

    Returns:
        The protected header and the signature, both in base64url; None where signing is off, or the key is a secret
        that verifiers would need too (HS256).

    Raises:
        SigningKeyError: there is a key, and this process cannot use it.
    """
    signer = keys.signing()
    if signer is None or signer.part.algorithm is not Algorithm.ED25519:
        return None
    members = {"alg": "EdDSA", "jku": key_url, "kid": signer.key.kid, "typ": "JOSE"}
    protected = to_base64url(json.dumps(members, separators=(",", ":")).encode())
    count_use(signer.key.kid, signer.key.signer)
    return protected, to_base64url(signer.part.sign(signing_input(protected, payload)))
