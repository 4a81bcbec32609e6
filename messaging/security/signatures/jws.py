"""The format: a JWS in compact form with detached payload (RFC 7515, appendix F).

    BASE64URL(header) ".." BASE64URL(signature)

The payload is the envelope's exact bytes, which are stored and carried beside it. The header has ``alg``, ``kid`` and,
for group messages, ``to``: the digest of recipients and positions. Nothing else may stand in it: no key that comes with
the message (``jwk``, ``jku``, ``x5u``, ``x5c``), and no ``crit``.

Messages that are signed together share one Ed25519 signature, whose payload is the head of a Merkle tree (``trees``):

    BASE64URL(header) ".." BASE64URL(signature) "." BASE64URL(proof)

Their header says so with ``cty``; what a group's ``to`` binds stands in the proof. A head that was verified is
remembered, so that its other messages cost a few hashes each.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from messaging.core.describing import safe_repr
from messaging.core.errors import BadSignature, EnvelopeError
from messaging.core.strict_json import loads
from messaging.security.signatures.algorithms import Algorithm, SigningPart, VerifyingPart
from messaging.security.signatures.encoding import from_base64url, to_base64url
from messaging.security.signatures.trees import MAX_LEAVES, Leaf, climb, plant

MAX_SIGNATURE = 2_000
"""Characters. A header has few and short members; the payload is bounded elsewhere."""

HEADS = 4_096
"""Verified tree heads that a process remembers: about 700 bytes each."""

_TREE = "nexus-tree-head"
_ALLOWED = {"alg", "kid", "to", "cty"}


@dataclass(frozen=True, slots=True)
class Header:
    """What a signature says of itself.

    Args:
        algorithm, key: the key's name and what it claims to be used with.
        to: digest of a group's routing; empty for a direct message.
        tree: whether the head of a tree is signed, and not the message itself.
    """

    algorithm: str
    key: str
    to: str
    tree: bool = False


@lru_cache(maxsize=1_024)
def encode_header(algorithm: Algorithm, key: str, to: str = "", *, tree: bool = False) -> str:
    """The protected header, encoded; but for groups once a key. All headers of a key begin with ``alg`` and ``kid``."""
    members = {"alg": algorithm.value, "kid": key, **({"to": to} if to else {}), **({"cty": _TREE} if tree else {})}
    return to_base64url(json.dumps(members, separators=(",", ":")).encode())


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
            f"Its protected header has {safe_repr(others)[:200]}. Only alg, kid, to and cty may stand there: keys come "
            "from the key store, never from a message."
        )
    algorithm, key, to = members.get("alg"), members.get("kid"), members.get("to", "")
    if not (isinstance(algorithm, str) and isinstance(key, str) and isinstance(to, str)) or (
        "to" in members and not to
    ):
        raise BadSignature("Its protected header needs the texts alg and kid.")
    tree = "cty" in members
    if tree and (members["cty"] != _TREE or algorithm != Algorithm.ED25519.value or to):
        raise BadSignature(f"Its protected header has cty: only {_TREE!r} is one, with Ed25519 and without to.")
    return Header(algorithm, key, to, tree)


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


def sign_all(part: SigningPart, key: str, messages: Sequence[Leaf]) -> list[str]:
    """Sign payloads that belong together: with Ed25519 as few times as can be.

    Args:
        part, key: the key and its name.
        messages: the exact bytes and the digest of a group's routing, or an empty text, of each.

    Raises:
        ValueError: a digest is none.
    """
    if part.algorithm is not Algorithm.ED25519:  # a MAC costs less than a proof
        return [sign(part, key, payload, to) for payload, to in messages]
    signatures: list[str] = []
    for start in range(0, len(messages), MAX_LEAVES):
        leaves = messages[start : start + MAX_LEAVES]
        if len(leaves) == 1:
            signatures.append(sign(part, key, *leaves[0]))
            continue
        head, proofs = plant(leaves)
        header = encode_header(part.algorithm, key, tree=True)
        signed = f"{header}..{to_base64url(part.sign(signing_input(header, head)))}"
        signatures += [f"{signed}.{proof}" for proof in proofs]
    return signatures


def read(signature: str) -> Header:
    """What a signature says of itself; nothing of it is verified, and of a tree's ``to`` nothing is said.

    Raises:
        BadSignature: it has not the form of one.
    """
    return parse_header(_split(signature)[0])


def verify(signature: str, payload: bytes, find_key: Callable[[str], VerifyingPart | None]) -> Header:
    """Verify a detached JWS, of the message or of a tree that it is in.

    Args:
        signature: as it came.
        payload: the exact bytes.
        find_key: name → key of our own store, or None.

    Returns:
        The header, which is verified too; ``to`` is what the proof binds where it has one.

    Raises:
        BadSignature: says why.
    """
    encoded, encoded_signature, proof = _split(signature)
    header = parse_header(encoded)
    if header.tree and not proof:
        raise BadSignature("It signs the head of a tree, and the proof that the message is in it is missing.")
    if proof and not header.tree:
        raise BadSignature("It signs one message, and has a proof as if it signed the head of a tree.")
    part = find_key(header.key)
    if part is None:
        raise BadSignature(f"No key is named {safe_repr(header.key)[:100]}.")
    if header.algorithm != part.algorithm.value:
        raise BadSignature(
            f"It claims the algorithm {safe_repr(header.algorithm)[:60]}; the key {header.key} is for "
            f"{part.algorithm.value}."
        )
    if not proof:
        _verify_bytes(part, header.key, encoded, encoded_signature, payload)
        return header
    head, to = climb(proof, payload)
    _verify_head(part.public, header.key, encoded, encoded_signature, head)
    return replace(header, to=to) if to else header


def _verify_bytes(part: VerifyingPart, key: str, header: str, signature: str, payload: bytes) -> None:
    try:
        raw = from_base64url(signature)
    except ValueError as error:
        raise BadSignature(f"Its signature cannot be read: {error}") from None
    if not part.verify(signing_input(header, payload), raw):
        raise BadSignature(f"The bytes are not those that were signed with the key {key}.")


@lru_cache(maxsize=HEADS)
def _verify_head(public: bytes, key: str, header: str, signature: str, head: bytes) -> None:
    """Verify the head of a tree once: what is verified is remembered, what raises is not.

    The key is its bytes, so that another one under the same name finds nothing here. Whether it may sign is asked anew
    for each message.
    """
    _verify_bytes(VerifyingPart.load(Algorithm.ED25519, public), key, header, signature, head)


def _split(signature: str) -> tuple[str, str, str]:
    """Header, signature and proof, which is empty where the message itself is signed."""
    if len(signature) > MAX_SIGNATURE:
        raise BadSignature(f"The signature has {len(signature)} characters; at most {MAX_SIGNATURE} are expected.")
    parts = signature.split(".")
    if len(parts) not in (3, 4) or parts.pop(1) or not all(parts):
        raise BadSignature(
            "The signature is no JWS with detached payload (header..signature, or header..signature.proof)."
        )
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""
