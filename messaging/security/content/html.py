"""HTML in the fields that may have it: nh3 keeps a safe part of it. Elsewhere ``<b>`` is text like any other."""

from __future__ import annotations

from collections.abc import Iterable

import nh3

EVERY_STRING = "*"


def clean_html(text: str) -> str:
    """The safe part of a piece of HTML: no scripts, styles, forms, event handlers or ``javascript:`` links."""
    return nh3.clean(text)


def is_html(pointer: str, fields: Iterable[str]) -> bool:
    """Whether a string at a JSON pointer is HTML: ``fields`` are pointers of it or of what it stands in, or "*"."""
    return any(field == EVERY_STRING or pointer == field or pointer.startswith(f"{field}/") for field in fields)
