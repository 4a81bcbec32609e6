"""Characters that people do not see and programs obey.

Removed are: control characters but white space, with the terminal sequences that they begin; bidirectional overrides
(U+202D, U+202E) with the marks that end them; Tag characters (U+E0000 to U+E007F) outside flags; variation selectors
that vary nothing. Kept are ZWJ and ZWNJ, which Persian, Hindi and emoji families are written with, direction marks,
embeddings and isolates, which right-to-left text needs, and everything else.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

CONTROL, BIDI, TAG, VARIATION = "control", "bidi-override", "tag-character", "variation-selector"

_CONTROLS = r"\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f"
_SELECTORS = r"\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_is_suspicious = re.compile(f"[{_CONTROLS}\u202d\u202e\U000e0000-\U000e007f{_SELECTORS}]").search

# Terminal sequences: CSI, and the string commands (OSC, DCS, SOS, PM, APC) up to their end, if it is near. No part can
# match what the next one begins with, so this stays linear.
_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,64}[ -/]{0,8}[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]{0,1000}(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]{0,4}[0-~]"
)
_CONTROL = re.compile(f"[{_CONTROLS}]+")
# The tag sequences that Unicode recommends spell a region and its subdivision; longer ones would carry text unseen.
_TAGS = re.compile(
    "(\U0001f3f4[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,3}\U000e007f)"
    "|[\U000e0000-\U000e007f]+"
)
_SELECTOR = re.compile(f"[{_SELECTORS}]+")
_DIRECTION = re.compile("[\u202a-\u202e\n\r\u2029]")
_IDEOGRAPHS = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


def has_suspicious(text: str) -> bool:
    """Tell whether any of these rules may find something in a text."""
    if text.isascii() and text.replace("\n", " ").isprintable():  # most texts: the control characters are missing
        return False
    return _is_suspicious(text) is not None


def clean_characters(text: str, rules: Iterable[str]) -> tuple[str, list[tuple[str, str]]]:
    """Take out what some rules are about.

    Args:
        text: any text.
        rules: of CONTROL, BIDI, TAG and VARIATION.

    Returns:
        The text, and (rule, what was taken out) for each place.
    """
    if not _is_suspicious(text):
        return text, []
    found: list[tuple[str, str]] = []
    wanted = frozenset(rules)
    for rule, clean in (
        (CONTROL, _without_controls),
        (BIDI, _without_overrides),
        (TAG, _without_tags),
        (VARIATION, _without_stray_selectors),
    ):
        if rule in wanted:
            text, taken = clean(text)
            found.extend((rule, part) for part in taken)
    return text, found


def _without_controls(text: str) -> tuple[str, list[str]]:
    taken: list[str] = []

    def take(match: re.Match[str]) -> str:
        taken.append(match[0])
        return ""

    return _CONTROL.sub(take, _SEQUENCE.sub(take, text)), taken


def _without_overrides(text: str) -> tuple[str, list[str]]:
    """Overrides go with the marks (U+202C) that end them; those of embeddings stay."""
    taken: list[str] = []
    open_: list[bool] = []

    def decide(match: re.Match[str]) -> str:
        mark = match[0]
        if mark in "\n\r\u2029":
            open_.clear()
            return mark
        if mark == "\u202c":
            gone = bool(open_) and open_.pop()
        else:
            gone = mark in "\u202d\u202e"
            open_.append(gone)
        if gone:
            taken.append(mark)
            return ""
        return mark

    return _DIRECTION.sub(decide, text), taken


def _without_tags(text: str) -> tuple[str, list[str]]:
    taken: list[str] = []

    def decide(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[1]
        taken.append(match[0])
        return ""

    return _TAGS.sub(decide, text), taken


def _without_stray_selectors(text: str) -> tuple[str, list[str]]:
    taken: list[str] = []

    def decide(match: re.Match[str]) -> str:
        run = match[0]
        before = text[match.start() - 1] if match.start() else ""
        kept = run[0] if _varies(before, run[0]) else ""
        if len(run) > len(kept):
            taken.append(run[len(kept) :])
        return kept

    return _SELECTOR.sub(decide, text), taken


def _varies(base: str, selector: str) -> bool:
    """Whether a selector can belong to the character before it."""
    if not base or base.isspace():
        return False
    point = ord(base)
    if selector >= "\U000e0100":
        return any(low <= point <= high for low, high in _IDEOGRAPHS)
    if selector < "\u2000":
        return 0x1820 <= point <= 0x18AA
    if point < 0x80:
        return base.isdigit() or base in "#*"
    category = unicodedata.category(base)
    if selector in "\ufe0e\ufe0f":
        return category not in ("Cc", "Cf", "Cn", "Co") and not _is_suspicious(base)
    if selector in "\ufe00\ufe01\ufe02":
        return category in ("Lo", "Sm", "Po", "Nd")
    return selector <= "\ufe06" and 0x13000 <= point <= 0x1345F  # hieroglyphs
