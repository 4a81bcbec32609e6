"""The pattern rules that come with Nexus, read from ``rules/*.yaml``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from messaging.core.errors import ContentRulesError
from messaging.core.strict_yaml import Placed, place
from messaging.security.content.matching import CHECKS, PatternRule, compile_regex

FOLDER = Path(__file__).parent / "rules"
_FIELDS: dict[str, type] = {
    "id": str,
    "description": str,
    "regex": str,
    "keywords": list,
    "entropy": float,
    "check": str,
    "unless": list,
}


@functools.cache
def secret_rules() -> tuple[PatternRule, ...]:
    """The rules for secrets."""
    return _from_file("secrets.yaml", "secret/")


@functools.cache
def personal_rules() -> tuple[PatternRule, ...]:
    """The rules for personal data."""
    return _from_file("personal.yaml", "personal/")


def _from_file(name: str, prefix: str) -> tuple[PatternRule, ...]:
    path = FOLDER / name
    top = place(path.read_text(encoding="utf-8"), ContentRulesError, str(path))
    return tuple(pattern_rule(entry, prefix, str(path)) for entry in top.value)


def pattern_rule(entry: Placed, prefix: str, source: str = "", allowed: tuple[str, ...] = ()) -> PatternRule:
    """Make a rule of an entry with ``id``, ``regex`` and what else a rule may have.

    Args:
        entry: a mapping.
        prefix: put before its id.
        source: the file's name, for errors.
        allowed: further fields, which are somebody else's.

    Raises:
        ContentRulesError: it is none; says where and what is expected.
    """

    def wrong(problem: str, at: Placed = entry) -> ContentRulesError:
        return ContentRulesError(problem, path=at.path, source=source, line=at.line)

    if not isinstance(entry.value, dict):
        raise wrong("expected a mapping with 'id' and 'regex'")
    values: dict[str, Any] = {}
    for key, found in entry.value.items():
        if key in allowed:
            continue
        if key not in _FIELDS:
            raise wrong(f"{key!r} is no field of a pattern; it may have {', '.join([*_FIELDS, *allowed])}", found)
        values[key] = _value(_FIELDS[key], found, wrong)
    for key in ("id", "regex"):
        if not values.get(key):
            raise wrong(f"a pattern needs {key!r}")
    if not values["id"].replace("-", "").isalnum() or len(values["id"]) > 60:
        raise wrong("expected a name of at most 60 letters, digits and '-'", entry.value["id"])
    if values.get("check") and values["check"] not in CHECKS:
        raise wrong(f"expected one of {', '.join(CHECKS)}", entry.value["check"])
    try:
        compile_regex(values["regex"])
    except ContentRulesError as error:
        raise wrong(error.problem, entry.value["regex"]) from None
    return PatternRule(name=f"{prefix}{values.pop('id')}", **values)


def _value(wanted: type, found: Placed, wrong: Any) -> Any:
    value = found.value
    if wanted is list:
        if not isinstance(value, list) or not all(isinstance(item.value, str) and item.value for item in value):
            raise wrong("expected a list of texts", found)
        return tuple(item.value.lower() for item in value)
    if wanted is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 8:
            raise wrong("expected a number from 0 to 8", found)
        return float(value)
    if not isinstance(value, str) or not value:
        raise wrong("expected a text", found)
    return value
