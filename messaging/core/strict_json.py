"""JSON exactly as RFC 8259 has it, and nothing that two readers could understand differently.

Python's ``json`` takes more than JSON: ``NaN``, duplicate keys (the last wins), half surrogate pairs that no encoder
can write again, nesting until the stack ends. Here each of these is refused, and the error names the place:

>>> loads(b'{"data": {"items": [1, {"score": NaN}]}}')
Traceback (most recent call last):
    ...
messaging.core.errors.EnvelopeError: data.items[1].score: NaN is not JSON
"""

from __future__ import annotations

import decimal
import json
import math
import os
import re
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, NamedTuple

from messaging.core.errors import EnvelopeError

MAX_DEPTH = 64
"""Objects and arrays may stand this deep in each other; the outermost counts as the first."""

MAX_INTEGER_DIGITS = 4300
"""Longer integers are refused; Python itself converts no longer ones by default."""

WHOLE = "envelope"
"""What errors call the whole text."""

_INTEGER_BOUND = 10**MAX_INTEGER_DIGITS
_MAX_SHOWN = 60
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# An unended string counts as one up to the end of the text, so that the scan stays linear whatever the text.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_is_plain_key = re.compile(r"[A-Za-z0-9_-]{1,60}").fullmatch


class Flaw(NamedTuple):
    """What is wrong inside a value, and where: ``"data.items[3].score"``, or ``""`` for the value itself."""

    path: str
    problem: str


def loads(body: bytes) -> Any:
    """Parse a JSON text.

    Raises:
        EnvelopeError: it is no strict JSON; nothing else is ever raised.
    """
    if not body:
        raise EnvelopeError(WHOLE, "is empty; expected a JSON object")
    if body.startswith(_BYTE_ORDER_MARK):
        raise EnvelopeError(WHOLE, "starts with a byte order mark; expected UTF-8 without one")
    if is_too_deep(body):
        raise EnvelopeError(WHOLE, f"is nested deeper than {MAX_DEPTH} levels")
    try:
        value = _decoder.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise EnvelopeError(WHOLE, f"is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise EnvelopeError(WHOLE, f"is not JSON at character {error.pos}: {error.msg}") from None
    flaw = find_flaw(value)
    if flaw is not None:
        raise EnvelopeError(flaw.path or WHOLE, flaw.problem)
    return value


def is_too_deep(body: bytes) -> bool:
    """Tell whether brackets stand deeper in each other than ``MAX_DEPTH``, without parsing; linear, no recursion."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _STRING.sub(b"", body).translate(None, _NOT_BRACKETS):
        if bracket in b"{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        else:
            depth -= 1
    return False


def find_flaw(value: Any, depth: int = 1) -> Flaw | None:
    """Find the first thing in a value that JSON cannot carry faithfully, or None.

    Args:
        value: any Python value.
        depth: the level at which the value stands, the outermost being 1.
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return Flaw("", "has half a surrogate pair, which UTF-8 cannot hold") if _has_lone_surrogate(value) else None
    if isinstance(value, int):
        too_long = abs(value) >= _INTEGER_BOUND
        return Flaw("", f"is an integer of more than {MAX_INTEGER_DIGITS} digits") if too_long else None
    if isinstance(value, float):
        return None if math.isfinite(value) else Flaw("", f"{value} is no JSON number")
    if isinstance(value, Flaw):
        return value
    if isinstance(value, dict | list) and depth > MAX_DEPTH:
        return Flaw("", f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        return _find_flaw_in_object(value, depth)
    if isinstance(value, list):
        for index, item in enumerate(value):
            flaw = find_flaw(item, depth + 1)
            if flaw is not None:
                return flaw._replace(path=join_path(f"[{index}]", flaw.path))
        return None
    return Flaw("", f"is {describe(value)}; {_way_out(value)}")


_WAYS_OUT: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bytes, bytearray, memoryview), "write base64.b64encode(value).decode(), or store it and send where it is"),
    ((set, frozenset), "write sorted(value)"),
    ((decimal.Decimal,), "it is no number; write None or a text"),
    ((complex,), "write [value.real, value.imag]"),
    ((os.PathLike, type, re.Pattern), "write str(value)"),
    ((BaseException,), "write str(value) or repr(value)"),
    ((Coroutine,), "await it first"),
)


def _way_out(value: Any) -> str:
    """What to send in place of a value that is no JSON."""
    for kinds, advice in _WAYS_OUT:
        if isinstance(value, kinds):
            return advice
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        return "send its primary key (value.pk), and let the handler read the row"
    if callable(value):
        return "call it, and send what it returns"
    if isinstance(value, Mapping):
        return "write dict(value)"
    if isinstance(value, Iterable):
        return "write list(value)"
    return "write its data as a dict, a dataclass or a text"


def describe(value: Any) -> str:
    """Say what a value is, for an error message, in a few words whatever its size."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the string {_shorten(value)!r}"
    if isinstance(value, int):
        return f"the integer {value}" if value.bit_length() <= 64 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    return f"a Python {type(value).__name__}"


def path_of_key(key: str) -> str:
    """Return a key as it stands in a path: plain, or quoted and shortened when it is not plain."""
    return key if _is_plain_key(key) else f"[{_shorten(key)!r}]"


def _find_flaw_in_object(value: dict[Any, Any], depth: int) -> Flaw | None:
    for key, item in value.items():
        if not isinstance(key, str):
            return Flaw("", f"has {describe(key)} for a key; expected a string: write str(key)")
        if _has_lone_surrogate(key):
            return Flaw(path_of_key(key), "is a key with half a surrogate pair, which UTF-8 cannot hold")
        flaw = find_flaw(item, depth + 1)
        if flaw is not None:
            return flaw._replace(path=join_path(path_of_key(key), flaw.path))
    return None


def join_path(head: str, tail: str) -> str:
    """Put two parts of a path together, such as ``"data"`` and ``"items[3]"``, ``"[3]"`` or nothing."""
    return head + tail if not tail or tail.startswith("[") else f"{head}.{tail}"


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


# The decoder's hooks do not know where in the text they are. They leave a Flaw in place of the value, and find_flaw,
# which walks the finished value anyway, tells where it stands.


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Flaw:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return Flaw(path_of_key(key), "stands twice in the same object")
        seen.add(key)
    raise AssertionError("unreachable: fewer keys than pairs, yet none twice")


def _constant(text: str) -> Flaw:
    return Flaw("", f"{text} is not JSON")


def _integer(text: str) -> int | Flaw:
    digits = len(text.lstrip("-"))
    if digits <= MAX_INTEGER_DIGITS:
        try:
            return int(text)
        except ValueError:  # this process has a lower sys.set_int_max_str_digits()
            pass
    return Flaw("", f"is an integer of {digits} digits, more than are allowed here")


def _float(text: str) -> float | Flaw:
    value = float(text)
    return value if math.isfinite(value) else Flaw("", f"{_shorten(text)} is larger than any 64-bit number")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object_without_duplicates, parse_constant=_constant, parse_int=_integer, parse_float=_float
)
