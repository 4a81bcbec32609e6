"""The format: a JWS in compact form with detached payload (RFC 7515, appendix F).

    BASE64URL(header) ".." BASE64URL(signature)

The payload is the envelope's exact bytes, which are stored and carried beside it. The header has ``alg``, ``kid`` and,
for group messages, ``to``: the digest of recipients and positions. Nothing else may stand in it: no key that comes with
the message (``jwk``, ``jku``, ``x5u``, ``x5c``), and no ``crit``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from messaging.core.describing import safe_repr
from messaging.core.errors import BadSignature, EnvelopeError
from messaging.core.strict_json import loads
from messaging.security.signatures.algorithms import Algorithm, SigningPart, VerifyingPart
from messaging.security.signatures.encoding import from_base64url, to_base64url

MAX_SIGNATURE = 2_000
"""Characters. A header has few and short members; the payload is bounded elsewhere."""

_ALLOWED = {"alg", "kid", "to"}


@dataclass(frozen=True, slots=True)
class Header:
    """What a signature says of itself.

    Args:
        algorithm, key: the key's name and what it claims to be used with.
        to: digest of a group's routing; empty for a direct message.
    """

    algorithm: str
    key: str
    to: str


@lru_cache(maxsize=1_024)
def encode_header(algorithm: Algorithm, key: str, to: str = "") -> str:
    """The protected header, encoded; for direct messages once a key."""
    members = {"alg": algorithm.value, "kid": key, **({"to": to} if to else {})}
    return to_base64url(json.dumps(members, separators=(",", ":"), sort_keys=True).encode())


@lru_cache(maxsize=4_096)
def parse_header(encoded: str) -> Header:
    """Read a protected header.

    Raises:
        BadSignature: it is none, or has something in it that has no place there.
    """
    try:
        members = loads(from_base64url(encoded))
    except (ValueError, EnvelopeError) as error:
        raise BadSignature(f"Its protected header cannot be read: {error}") from None
    if not isinstance(members, dict):
        raise BadSignature("Its protected header is no JSON object.")
    others = sorted(members.keys() - _ALLOWED)
    if others:
        raise BadSignature(
            f"Its protected header has {safe_repr(others)[:200]}. Only alg, kid and to may stand there: keys come from "
            "the key store, never from a message."
        )
    algorithm, key, to = members.get("alg"), members.get("kid"), members.get("to", "")
    if not (isinstance(algorithm, str) and isinstance(key, str) and isinstance(to, str)) or (
        "to" in members and not to
    ):
        raise BadSignature("Its protected header needs the texts alg and kid.")
    return Header(algorithm, key, to)


def signing_input(header: str, payload: bytes) -> bytes:
    """The bytes that are signed (RFC 7515 §5.1)."""
    return b"%b.%b" % (header.encode(), base64.urlsafe_b64encode(payload).rstrip(b"="))


def sign(part: SigningPart, key: str, payload: bytes, to: str = "") -> str:
    """Sign a payload.

    Args:
        part, key: the key and its name.
        payload: the exact bytes.
        to: digest of a group's routing.
    """
    header = encode_header(part.algorithm, key) if not to else encode_header.__wrapped__(part.algorithm, key, to)
    return f"{header}..{to_base64url(part.sign(signing_input(header, payload)))}"


def read(signature: str) -> Header:
    """What a signature says of itself; nothing of it is verified.

    Raises:
        BadSignature: it has not the form of one.
    """
    return parse_header(_split(signature)[0])


def verify(signature: str, payload: bytes, find_key: Callable[[str], VerifyingPart | None]) -> Header:
    """Verify a detached JWS.

    Args:
        signature: as it came.
        payload: the exact bytes.
        find_key: name → key of our own store, or None.

    Returns:
        The header, which is verified too.

    Raises:
        BadSignature: says why.
    """
    encoded, encoded_signature = _split(signature)
    header = parse_header(encoded)
    part = find_key(header.key)
    if part is None:
        raise BadSignature(f"No key is named {safe_repr(header.key)[:100]}.")
    if header.algorithm != part.algorithm.value:
        raise BadSignature(
            f"It claims the algorithm {safe_repr(header.algorithm)[:60]}; the key {header.key} is for "
            f"{part.algorithm.value}."
        )
    try:
        raw = from_base64url(encoded_signature)
    except ValueError as error:
        raise BadSignature(f"Its signature cannot be read: {error}") from None
    if not part.verify(signing_input(encoded, payload), raw):
        raise BadSignature(f"The bytes are not those that were signed with the key {header.key}.")
    return header


def _split(signature: str) -> tuple[str, str]:
    if len(signature) > MAX_SIGNATURE:
        raise BadSignature(f"The signature has {len(signature)} characters; at most {MAX_SIGNATURE} are expected.")
    parts = signature.split(".")
    if len(parts) != 3 or not parts[0] or parts[1] or not parts[2]:
        raise BadSignature("The signature is no JWS with detached payload (header..signature).")
    return parts[0], parts[2]
