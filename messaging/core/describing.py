"""Words about values and errors of a user's code that cannot fail, and that every database can store."""

from __future__ import annotations

import re
import traceback
import unicodedata

import msgspec

MAX_DETAIL = 8_000
"""Characters of an error's description; its end says most."""

_FRAME = re.compile(r'^  File "([^"\n]+)", line (\d+), in (\S+)$', re.MULTILINE)
_NOT_OWN = re.compile(r"[/\\](?:site-packages|dist-packages|messaging|lib[/\\]python3\.\d+)[/\\]|^<")

MAX_MESSAGE = 4_000
"""Characters of the error's own message in it."""


def storable(text: str) -> str:
    """The text as every database stores it: PostgreSQL takes neither NUL nor lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def visible(text: str) -> str:
    """Text whose invisible characters can be seen: controls, and marks that turn the direction of writing."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def safe_repr(value: object) -> str:
    """``repr``, or a stand-in where the value's own raises."""
    try:
        return storable(repr(value))
    except Exception as error:  # noqa: BLE001 - whatever a __repr__ raises, the value is named all the same
        return f"<{type(value).__qualname__}, whose repr raises {type(error).__qualname__}>"


def describe_error(error: BaseException) -> str:
    """An error's message, cut where it is very long, and where it was raised: the innermost frames, if not all."""
    try:
        frames = "Traceback (most recent call last):\n" + "".join(traceback.format_tb(error.__traceback__))
        message = "".join(traceback.format_exception_only(error))
    except Exception as broken:  # noqa: BLE001 - a __str__ that raises what traceback does not foresee
        frames, message = "", f"{type(error).__qualname__}, which cannot be printed ({type(broken).__qualname__})"
    message = storable(message)
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}… {len(message) - MAX_MESSAGE} more characters"
    return storable(frames)[-(MAX_DETAIL - len(message)) :] + message


def place_in(detail: str) -> str:
    """Where an error was raised: the innermost frame of the user's own code, or of any if none is theirs.

    Args:
        detail: as ``describe_error`` gives it.

    Returns:
        Such as ``"shop/agents.py:42 in charge"``, at most 200 characters; empty where nothing tells.
    """
    frames = _FRAME.findall(detail)
    own = [frame for frame in frames if not _NOT_OWN.search(frame[0])]
    for file, line, function in reversed(own or frames):
        short = "/".join(re.split(r"[/\\\\]", file)[-2:])
        return f"{short}:{line} in {function}"[:200]
    return ""


def name_of(error: BaseException) -> str:
    """The class of an error, at most 200 characters."""
    return storable(type(error).__qualname__)[:200]


def summarize_error(error: BaseException) -> str:
    """An error's class and message in a line, whatever its ``__str__`` does."""
    try:
        said = str(error)
    except Exception as broken:  # noqa: BLE001 - whatever it raises, the error is named all the same
        said = f"it cannot be printed ({type(broken).__qualname__})"
    return storable(f"{type(error).__name__}: {said}")


def json_size(text: str) -> int:
    """Bytes that a text takes in JSON: as an envelope, a state and a model's request carry it."""
    return len(msgspec.json.encode(text.encode("utf-8", "replace").decode()))


def cut_text(text: str, most: int, mark: str = " … (cut)") -> str:
    """The text, or as much of its beginning as fits into so many bytes of JSON, with a mark behind it.

    >>> cut_text("好" * 100, 40)
    '好好好好好好好好好 … (cut)'
    """
    if len(text) * 6 + 2 <= most or json_size(text) <= most:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if json_size(text[:middle] + mark) <= most:
            low = middle
        else:
            high = middle - 1
    return text[:low] + mark
