"""What a message says, for agents that work with text, and values as a message can carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from messaging.extension import cut_text, json_size

MAX_KEPT_BYTES = 786_432
"""What an agent keeps in its state, which may have 1 MiB."""

MIN_BYTES = 256


def text_of(data: Any) -> str:
    """The text of a message's data: itself, its ``text`` or ``content``, or all of it as JSON."""
    if isinstance(data, str):
        return data
    if isinstance(data, dict):
        for field in ("text", "content"):
            if isinstance(data.get(field), str):
                return str(data[field])
    return msgspec.json.encode(data).decode()


def plain(value: Any) -> Any:
    """A value as JSON has it: structures become objects, tuples become arrays."""
    return msgspec.json.decode(msgspec.json.encode(value))


def fit(values: Sequence[Any], most: int) -> list[Any]:
    """Values, the longest of them cut to texts, so that all together take so many bytes of JSON; the rest unchanged.

    No value is cut below ``MIN_BYTES``: very many still take more.
    """
    sizes = [json_size(value) if isinstance(value, str) else len(msgspec.json.encode(value)) for value in values]
    share = max(sizes, default=0)
    while share > MIN_BYTES and sum(min(size, share) for size in sizes) > most:
        share = max(MIN_BYTES, share * 3 // 4)
    return [
        value if size <= share else cut_text(_text(value), share) for value, size in zip(values, sizes, strict=True)
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def state_size(state: Mapping[str, Any]) -> int:
    """Bytes that a state takes."""
    return len(msgspec.json.encode(state))
