"""Arguments of commands that are refused before they reach the database."""

from __future__ import annotations

from argparse import ArgumentTypeError

MAX_COUNT = 1_000_000_000


def whole_number(text: str) -> int:
    """A number from 1 on, as ``--limit`` takes it.

    Raises:
        ArgumentTypeError: says what was expected.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_COUNT:
        raise ArgumentTypeError(f"expected a number above 0, at most {MAX_COUNT}, got {text[:30]!r}")
    return number
