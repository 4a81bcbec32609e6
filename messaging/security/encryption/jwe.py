"""The format: a JWE in compact form (RFC 7516), ``alg`` A256KW, ``enc`` A256GCM.

    BASE64URL(header) "." BASE64URL(wrapped key) "." BASE64URL(nonce) "." BASE64URL(ciphertext) "." BASE64URL(tag)

Each message has a content key of its own, so a nonce never meets the same key twice however many messages a key of ours
wraps. The protected header has ``kid`` and, as registered claims (RFC 7519, section 5.3), whose message it is: ``iss``
the sender, ``aud`` the recipient, ``sub`` the type. Nothing else may stand in it: no ``zip``, no ``crit``, no key that
comes with the message.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from messaging.core.errors import EnvelopeError, NotDecrypted
from messaging.core.strict_json import loads
from messaging.security.signatures.encoding import from_base64url, to_base64url

ALGORITHM = "A256KW"
KEY_BYTES = 32
WRAPPED_BYTES = KEY_BYTES + 8
NONCE_BYTES = 12
TAG_BYTES = 16
_CONTENT = "A256GCM"
_MAX_HEADER = 1_024


class JweHeader(NamedTuple):
    """Whose message a text is.

    Args:
        key: name of the key.
        source, recipient, type: of the message.
    """

    key: str
    source: str
    recipient: str
    type: str


class JweParts(NamedTuple):
    """The five parts of a text, decoded; the header as it is written."""

    protected: str
    wrapped: bytes
    nonce: bytes
    ciphertext: bytes
    tag: bytes


def protect(header: JweHeader) -> str:
    """A header as it is written: it is authenticated with the data."""
    members = {
        "alg": ALGORITHM,
        "enc": _CONTENT,
        "kid": header.key,
        "iss": header.source,
        "aud": header.recipient,
        "sub": header.type,
    }
    return to_base64url(json.dumps(members, separators=(",", ":")).encode())


def write(parts: JweParts) -> str:
    """Put a text together."""
    return ".".join((parts.protected, *map(to_base64url, parts[1:])))


def read(text: str) -> tuple[JweHeader, JweParts]:
    """Take a text apart. Nothing of it is proven yet.

    Raises:
        NotDecrypted: it is no JWE as ``encrypt`` makes them.
    """
    parts = text.split(".", 5)
    if len(parts) != 5 or len(parts[0]) > _MAX_HEADER:
        raise NotDecrypted("The data are no JWE in compact form: five parts are expected.")
    try:
        members = loads(from_base64url(parts[0]))
        found = JweParts(parts[0], *map(from_base64url, parts[1:]))
    except (ValueError, EnvelopeError) as error:
        raise NotDecrypted(f"The data are no JWE in compact form: {error}.") from None
    if not isinstance(members, dict) or members.keys() != {"alg", "enc", "kid", "iss", "aud", "sub"}:
        raise NotDecrypted("The JWE's header has other members than alg, enc, kid, iss, aud and sub.")
    if (members["alg"], members["enc"]) != (ALGORITHM, _CONTENT):
        raise NotDecrypted(f"The JWE says another alg or enc than {ALGORITHM} and {_CONTENT}.")
    if not all(isinstance(value, str) for value in members.values()):
        raise NotDecrypted("The JWE's header has a member that is no string.")
    if (len(found.wrapped), len(found.nonce), len(found.tag)) != (WRAPPED_BYTES, NONCE_BYTES, TAG_BYTES):
        raise NotDecrypted("The JWE's key, nonce or tag has another length than it must have.")
    return JweHeader(members["kid"], members["iss"], members["aud"], members["sub"]), found
