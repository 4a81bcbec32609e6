"""Merkle trees (RFC 9162 §2.1): many messages under one root, and for each the proof that it is one of them.

    leaf   SHA-256(0x00 ‖ "nexus leaf 1\\n" ‖ length of ``to`` ‖ ``to`` ‖ the envelope's exact bytes)
    node   SHA-256(0x01 ‖ left ‖ right)
    head   "nexus tree head 1\\n" ‖ size in decimal ‖ "\\n" ‖ root: what is signed
    proof  index ‖ size ‖ length of ``to`` ‖ ``to`` ‖ path (§2.1.3), in base64url

``to`` is the digest of a group's routing, or empty; index, size and length are one byte each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

from messaging.core.errors import BadSignature
from messaging.security.signatures.encoding import from_base64url, to_base64url

MAX_LEAVES = 32
"""Of one tree. Twice as many would make each signature 43 characters longer and save little of what is left to save."""

DIGEST = 32
_LEAF = b"\x00nexus leaf 1\n"
_HEAD = b"nexus tree head 1\n%d\n%b"
_BEFORE_TO = 3
"""Bytes of a proof: index, size, length of ``to``."""

Leaf = tuple[bytes, str]
"""(an envelope's exact bytes, digest of a group's routing in base64url or empty)"""


def plant(leaves: Sequence[Leaf]) -> tuple[bytes, list[str]]:
    """Make a tree.

    Args:
        leaves: from 2 to ``MAX_LEAVES``.

    Returns:
        Its head, and the proof of each leaf.

    Raises:
        ValueError: too few or too many leaves, or a digest is none.
    """
    size = len(leaves)
    if not 2 <= size <= MAX_LEAVES:
        raise ValueError(f"A tree has from 2 to {MAX_LEAVES} leaves, not {size}.")
    bound = [_length_and(to) for _, to in leaves]
    level = [sha256(_LEAF + to + body).digest() for to, (body, _) in zip(bound, leaves, strict=True)]
    levels = [level]
    while len(level) > 1:
        whole = len(level) & ~1
        pairs = zip(level[:whole:2], level[1:whole:2], strict=True)
        level = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + level[whole:]
        levels.append(level)
    proofs = []
    for index, to in enumerate(bound):
        proof = bytes((index, size)) + to
        for depth, _ in _steps(index, size):
            proof += levels[depth][index >> depth ^ 1]
        proofs.append(to_base64url(proof))
    return _HEAD % (size, level[0]), proofs


def climb(proof: str, body: bytes) -> tuple[bytes, str]:
    """Follow a proof from a message to the root. Nothing is true before the head that comes of it is verified.

    Args:
        proof: as it came.
        body: the exact bytes of the envelope.

    Returns:
        The head of the tree that the message would be in, and the digest of a group's routing that it would bind.

    Raises:
        BadSignature: it has not the form of a proof.
    """
    try:
        raw = from_base64url(proof)
    except ValueError as error:
        raise BadSignature(f"Its proof cannot be read: {error}") from None
    if len(raw) < _BEFORE_TO:
        raise BadSignature(f"Its proof has {len(raw)} bytes; index, size and what it binds are missing.")
    index, size, bound = raw[0], raw[1], raw[2]
    if not 2 <= size <= MAX_LEAVES:
        raise BadSignature(f"Its proof is of a tree with {size} messages; from 2 to {MAX_LEAVES} are expected.")
    if index >= size:
        raise BadSignature(f"Its proof is of message {index} in a tree with {size} messages.")
    if bound not in (0, DIGEST):
        raise BadSignature(f"Its proof binds a routing of {bound} bytes; none or {DIGEST} are expected.")
    steps, start = _steps(index, size), _BEFORE_TO + bound
    if len(raw) != start + DIGEST * len(steps):
        raise BadSignature(
            f"Its proof has {len(raw)} bytes; {start + DIGEST * len(steps)} are expected for message {index} of {size}."
        )
    node = sha256(_LEAF + raw[_BEFORE_TO - 1 : start] + body).digest()
    to = to_base64url(raw[_BEFORE_TO:start]) if bound else ""
    for _, from_the_left in steps:
        sibling = raw[start : start + DIGEST]
        node = sha256(b"\x01" + sibling + node if from_the_left else b"\x01" + node + sibling).digest()
        start += DIGEST
    return _HEAD % (size, node), to


@lru_cache(maxsize=MAX_LEAVES * MAX_LEAVES)
def _steps(index: int, size: int) -> tuple[tuple[int, bool], ...]:
    """The way from a leaf up: the depths at which its branch has a sibling, and whether that is on its left."""
    steps, depth = [], 0
    while size > 1:
        if index ^ 1 < size:  # otherwise it is the last one, and goes up as it is
            steps.append((depth, index & 1 == 1))
        index, size, depth = index >> 1, size + 1 >> 1, depth + 1
    return tuple(steps)


def _length_and(to: str) -> bytes:
    if not to:
        return b"\x00"
    digest = from_base64url(to)
    if len(digest) != DIGEST:
        raise ValueError(f"The digest of a routing has {DIGEST} bytes, not {len(digest)}.")
    return bytes((DIGEST,)) + digest
