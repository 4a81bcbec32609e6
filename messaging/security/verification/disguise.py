"""Text that is hidden in an encoding: decoded once, to be looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from messaging.security.content.encoded import encoded_parts
from messaging.security.content.matching import compile_regex

_HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2}){12,}(?![0-9A-Za-z])")
_BINARY = re.compile(r"(?<![01])(?:[01]{8}\s?){8,}")
_MORSE = re.compile(r"(?:[.-]{1,6}[ /|]+){12,}[.-]{1,6}")
_CODES = ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
_LETTERS = dict(zip(_CODES.split(), "abcdefghijklmnopqrstuvwxyz", strict=True))
MAX_HIDDEN = 20
# A part of whatever these and base64 match, so that RE2 settles most texts at once.
_MAYBE = compile_regex(r"[A-Za-z0-9+/_-]{24}|(?:[01]{8}[^01]?){8}|(?:[.-]{1,6}[ /|]+){12}")


def hidden_texts(text: str) -> Iterator[str]:
    """The texts that stand encoded in a text, at most ``MAX_HIDDEN``."""
    if _MAYBE.search(text if text.isascii() else text.encode("utf-8", "replace").decode()) is None:
        return
    found = _all(text)
    for _ in range(MAX_HIDDEN):
        inside = next(found, None)
        if inside is None:
            return
        yield inside


def _all(text: str) -> Iterator[str]:
    for _, _, inside in encoded_parts(text):
        yield inside
    for match in _HEX.finditer(text):
        yield from _readable(bytes.fromhex(match[0]))
    for match in _BINARY.finditer(text):
        digits = "".join(match[0].split())
        yield from _readable(bytes(int(digits[at : at + 8], 2) for at in range(0, len(digits) - 7, 8)))
    for match in _MORSE.finditer(text):
        words = re.split(r"\s*[/|]\s*|\s{2,}", match[0])
        yield " ".join("".join(_LETTERS.get(letter, "") for letter in word.split()) for word in words)


def _readable(raw: bytes) -> Iterator[str]:
    try:
        inside = raw.decode()
    except UnicodeDecodeError:
        return
    if inside.isprintable():
        yield inside
