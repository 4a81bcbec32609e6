"""Patterns of agents and message types: a ``*`` stands for any characters, also none."""

from __future__ import annotations

import re
from collections.abc import Callable

from messaging.core.names import is_agent_name, is_type_name
from messaging.security.access.policy import ANY

MAX_STARS = 4
"""Of one pattern. Matching is quadratic or worse in them."""


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a function that tells whether a name matches."""
    if pattern == ANY:
        return lambda _: True
    if "*" not in pattern:
        return pattern.__eq__
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    match = re.compile(expression, re.DOTALL).fullmatch
    return lambda name: match(name) is not None


def agent_pattern_problem(pattern: str) -> str:
    """What is wrong with a pattern of agents; empty when nothing is."""
    return _problem(pattern, is_agent_name, "a-z, 0-9, '.', '_', '-' and '*', such as 'writer' or 'writer-*'")


def type_pattern_problem(pattern: str) -> str:
    """What is wrong with a pattern of message types; empty when nothing is."""
    return _problem(
        pattern, is_type_name, "A-Z, a-z, 0-9, '.', '_', '/', '-' and '*', such as 'order.placed' or 'order.*'"
    )


def _problem(pattern: str, is_name: Callable[[str], bool], expected: str) -> str:
    shown = repr(pattern[:120])
    if "**" in pattern:
        return f"{shown} has two stars in a row; write one"
    if pattern.count("*") > MAX_STARS:
        return f"{shown} has more than {MAX_STARS} stars; write several grants instead"
    # A star in place of a letter must leave a name that could exist.
    if not is_name(pattern.replace("*", "x")):
        return f"{shown} matches no name that could exist; expected {expected}"
    return ""
