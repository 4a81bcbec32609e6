"""base64url without padding (RFC 7515 §2), in its one canonical form."""

from __future__ import annotations

import base64
import binascii


def to_base64url(data: bytes) -> str:
    """Encode bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Decode text.

    Raises:
        ValueError: it is not what ``to_base64url`` makes of any bytes.
    """
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError) as error:
        raise ValueError(f"no base64url: {error}") from None
    if to_base64url(data) != text:
        raise ValueError("no canonical base64url")
    return data
