"""What a message says, for agents that work with text, and values as a message can carry them."""

from __future__ import annotations

from typing import Any

import msgspec


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
