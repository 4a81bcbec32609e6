"""Numbers that a program is set up with: what could not be kept or computed later is refused at the start."""

from __future__ import annotations

from typing import Any

from messaging.core.errors import ConfigurationError

MAX_SECONDS = 10 * 366 * 86_400.0
"""The longest time that anything may be given: ten years."""

MAX_ATTEMPTS = 32_000
"""The log counts attempts in 16 bits."""

MIN_RATE, MAX_RATE = 1 / 86_400, 1_000_000.0
"""Handlers started per second: from one a day on."""


def check_number(name: str, value: Any, least: float, most: float, *, whole: bool = False) -> None:
    """Refuse what is no number in a range.

    Args:
        name: what the error calls it, such as ``"Agent 'a': timeout"``.
        value: anything.
        least, most: the range; ``least`` 0 means: more than 0.
        whole: only whole numbers.

    Raises:
        ConfigurationError: says what was expected.
    """
    kinds: Any = int if whole else (int, float)
    fits = isinstance(value, kinds) and not isinstance(value, bool)
    if fits and least <= value <= most and value > 0:
        return
    noun = "a whole number" if whole else "a number"
    bounds = f"above 0, at most {most:g}" if not least else f"from {least:g} to {most:g}"
    raise ConfigurationError(f"{name} is {_shown(value)}; expected {noun} {bounds}.")


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return repr(value[:60]) if isinstance(value, str) else f"an object of type {type(value).__qualname__}"
