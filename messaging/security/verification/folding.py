"""Text as it is compared: never what is stored or shown.

NFKC and case folding make forms of one letter alike (full width, mathematical, ligatures); a second variant also takes
letters of other alphabets for the Latin ones that they look like, and drops what is not seen.
"""

from __future__ import annotations

import re
import unicodedata

from messaging.security.content.matching import compile_regex

_LOOKALIKES = str.maketrans(
    dict(
        zip(
            "аеорсухіїјѕԁԛԝһӏвкмнтгпλοαβγεικνρτυχωηδ",
            "aeopcyxiijsdqwhlbkmhtrnaoabyeikvptuxwnd",
            strict=True,
        )
    )
)
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f"
    "\ufeff\U000e0000-\U000e01ef]"
)
_SPACED = re.compile(r"(?<![^\W_])(?:[^\W_][ .\-_*]){4,}[^\W_](?![^\W_])")
# In ASCII whatever _SPACED matches has this in it; RE2 settles it at once.
_MAYBE_SPACED = compile_regex(r"(?:[0-9A-Za-z][ .\-_*]){4}")
_BREAK = re.compile(
    "(?<=[.!?\u3002\uff01\uff1f\u0964\u2026])[\"'\u201d\u2019)\\]]*\\s+|(?<=[\u3002\uff01\uff1f])"
    "|[\r\n]+|\\s+[-\u2013\u2014]\\s+|</?[a-z][^>]{0,200}>"
)
MAX_SENTENCES = 5_000


def normal(text: str) -> str:
    """A text in one form and case, on which patterns are tried. Half surrogate pairs become question marks."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode()).casefold().replace("\u2019", "'")


def fold(text: str) -> list[str]:
    """The variants of a text that patterns are tried on: the normal one, and one without disguise if it differs."""
    plain = normal(text)
    if plain.isascii() and (_MAYBE_SPACED.search(plain) is None or _SPACED.search(plain) is None):
        return [plain]
    bare = _UNSEEN.sub("", plain).translate(_LOOKALIKES)
    bare = "".join(c for c in unicodedata.normalize("NFD", bare) if unicodedata.category(c) != "Mn")
    bare = _SPACED.sub(lambda match: re.sub(r"[ .\-_*]", "", match[0]), bare)
    return [plain] if bare == plain else [plain, bare]


def sentences(text: str) -> list[str]:
    """The sentences of a text, roughly; lines and elements of HTML end them too."""
    found = [part.strip() for part in _BREAK.split(text, maxsplit=MAX_SENTENCES) if part]
    return [part for part in found if part]
