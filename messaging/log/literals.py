"""Values as SQL, for messages of several statements, which take no parameters. PostgreSQL only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

Value = UUID | int | str


def literal(value: Value) -> str:
    """A value as PostgreSQL reads it, whatever ``standard_conforming_strings`` says.

    Raises:
        KeyError: a value of another type.
        ValueError: a text with a NUL, which PostgreSQL cannot store.
    """
    return _WRITERS[type(value)](value)


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    if "'" in text:
        text = text.replace("'", "''")
    if "\\" not in text:
        return f"'{text}'"
    return "E'" + text.replace("\\", "\\\\") + "'"


_WRITERS: Mapping[type, Callable[[Any], str]] = {UUID: lambda value: f"'{value.hex}'", int: str, str: _text}
