"""Checks of what callers hand in: what no envelope and no database could keep is refused at the door."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from messaging.core.describing import storable
from messaging.core.errors import EnvelopeError
from messaging.core.numbers import MAX_SECONDS
from messaging.core.strict_json import describe

MAX_TEXT = 200
"""Characters of names for people and of deduplication ids."""


def as_uuid(attribute: str, value: Any) -> UUID:
    """A UUID, also from its text.

    Raises:
        EnvelopeError: it is neither.
    """
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise EnvelopeError(attribute, f"expected a UUID, got {_describe(value)}")


def check_seconds(attribute: str, value: Any) -> None:
    """Refuse what is no number of seconds from 0 to ten years; None is none.

    Raises:
        EnvelopeError: says what was expected.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise EnvelopeError(attribute, f"expected a number of seconds, got {_describe(value)}")
    if not 0 <= value <= MAX_SECONDS:  # an integer may be too long to be made a float
        raise EnvelopeError(attribute, f"expected 0 to {MAX_SECONDS:.0f} seconds (ten years), got {_describe(value)}")


def check_moment(attribute: str, value: Any) -> None:
    """Refuse what is no aware datetime; None is none.

    Raises:
        EnvelopeError: says what was expected.
    """
    if value is None:
        return
    if not isinstance(value, datetime):
        raise EnvelopeError(attribute, f"expected a datetime, got {_describe(value)}")
    if value.tzinfo is None:
        raise EnvelopeError(attribute, f"expected a datetime with a time zone, got {value.isoformat()} without one")


def check_text(attribute: str, value: Any, longest: int = MAX_TEXT) -> None:
    """Refuse what is no text that every database can store.

    Args:
        attribute: what the error calls it.
        value: anything.
        longest: characters at most; one at least.

    Raises:
        EnvelopeError: says what was expected.
    """
    if not isinstance(value, str):
        raise EnvelopeError(attribute, f"expected text, got {_describe(value)}")
    if not 1 <= len(value) <= longest:
        raise EnvelopeError(attribute, f"expected 1 to {longest} characters, got {len(value)}")
    if "\x00" in value or (not value.isprintable() and _has_surrogate(value)):
        raise EnvelopeError(attribute, f"may hold neither NUL nor lone surrogates, got {value[:50]!r}")


def check_count(attribute: str, value: Any) -> None:
    """Refuse what is no whole number from 1 to 2^63 - 1; None is none.

    Raises:
        EnvelopeError: says what was expected.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**63:
        raise EnvelopeError(attribute, f"expected a whole number from 1 on, or None, got {_describe(value)}")


def check_note(attribute: str, value: Any) -> str:
    """A note for people as every database can store it, such as why something was stopped.

    Raises:
        EnvelopeError: it is no text.
    """
    if not isinstance(value, str):
        raise EnvelopeError(attribute, f"expected text, got {_describe(value)}")
    return storable(value)


def check_instances(attribute: str, values: Any, kind: type) -> None:
    """Refuse what is no list or other sequence of objects of one class.

    Raises:
        EnvelopeError: names the first one that is not.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Collection):
        raise EnvelopeError(attribute, f"expected a list of {kind.__name__}, got {_describe(values)}")
    for number, value in enumerate(values):
        if not isinstance(value, kind):
            raise EnvelopeError(f"{attribute}[{number}]", f"expected {kind.__name__}, got {_describe(value)}")


def check_choice(attribute: str, value: Any, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices; None is none.

    Raises:
        EnvelopeError: names the choices.
    """
    if value is not None and value not in choices:
        raise EnvelopeError(attribute, f"expected one of {', '.join(choices)}, got {_describe(value)}")


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _describe(value: Any) -> str:
    if value is None or isinstance(value, bool | str | int | float | dict | list):
        return describe(value)
    return f"an object of type {type(value).__qualname__}"
