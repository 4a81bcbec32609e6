"""Which recipients a group message has, and their places: one digest, which is signed.

A direct message's envelope names its recipient and position. A group's does not, so the signature covers this digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from messaging.security.signatures.encoding import to_base64url

Place = tuple[str, int]
"""(agent, position)"""


def routing_digest(places: Iterable[Place]) -> str:
    """The digest of a message's deliveries, in the order of their numbers."""
    hashed = sha256(b"nexus group routing 1\n")
    for agent, position in places:
        name = agent.encode()
        hashed.update(b"%d:%b,%d;" % (len(name), name, position))
    return to_base64url(hashed.digest())
