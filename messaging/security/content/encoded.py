"""Text that stands in base64 inside a text: one level of it is looked into."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from messaging.security.content.matching import compile_regex

_RUN = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_has_run = compile_regex(r"[A-Za-z0-9+/_-]{24}").search  # RE2 settles most texts at once
_SHORTEST = 16
_WHITE_SPACE = "\t\n\r"


def encoded_parts(text: str) -> Iterator[tuple[int, int, str]]:
    """Each run of base64 that holds text: its start and end, and the text."""
    if _has_run(text if text.isascii() else text.encode("utf-8", "replace").decode()) is None:
        return
    for match in _RUN.finditer(text):
        inside = _decoded(match[0])
        if inside is not None:
            yield match.start(), match.end(), inside


def _decoded(run: str) -> str | None:
    plain = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(plain[: len(plain) - (len(plain) % 4 == 1)] + "=" * (-len(plain) % 4 % 3), validate=True)
        inside = raw.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
    if len(inside) < _SHORTEST or not all(character.isprintable() or character in _WHITE_SPACE for character in inside):
        return None
    return inside
