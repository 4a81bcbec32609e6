"""Typed extraction: what may be taken out of untrusted content without trusting the content.

An enum, a number, a boolean or a date can be wrong, but it cannot give orders. So a schema that allows nothing else
lowers integrity: the message that carries such data is trusted, whatever they were read from. Secrets stay secret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from messaging.core.describing import safe_repr, storable
from messaging.core.errors import ConfigurationError, LabelError

MAX_ITEMS = 16
MAX_PROPERTIES = 32
MAX_DEPTH = 4
MAX_NUMBER = 2**53
"""JSON numbers of any size would carry any text."""

_FORMATS = {"date": date.fromisoformat, "date-time": datetime.fromisoformat, "time": time.fromisoformat}
_MAX_FORMATTED = 40
_SCALARS = (str, int, float, bool, type(None))
_KEYWORDS = {
    "object": {"type", "properties", "required", "additionalProperties"},
    "array": {"type", "items", "maxItems"},
    "string": {"type", "format"},
    "integer": {"type", "minimum", "maximum"},
    "number": {"type", "minimum", "maximum"},
    "boolean": {"type"},
    "null": {"type"},
}


@dataclass(frozen=True, slots=True)
class Extraction:
    """A named extraction. Pass it to ``context.send(…, extraction=…)``; each use is a row of the log.

    Args:
        name: for the audit.
        schema: JSON Schema of the data; only ``enum``, ``integer``, ``number``, ``boolean``, ``null``, strings with the
            format ``date``, ``date-time`` or ``time``, objects that are closed (``"additionalProperties": false``), and
            arrays of at most ``MAX_ITEMS``.

    Raises:
        ConfigurationError: the schema could carry free text; says where.
    """

    name: str
    schema: Mapping[str, Any]

    def __post_init__(self) -> None:
        name: Any = self.name
        if not isinstance(name, str) or not 0 < len(name) <= 100 or storable(name) != name:
            raise ConfigurationError(f"Extraction: name is {safe_repr(name)[:60]}; expected up to 100 characters.")
        _check_schema(self.name, self.schema, "", 1)

    def check(self, data: Any) -> None:
        """Refuse data that the schema does not allow.

        Raises:
            LabelError: says where; never shows a value.
        """
        problem = _problem(data, self.schema, "")
        if problem:
            raise LabelError(f"Extraction {self.name!r}: {problem}. Send what its schema allows, or without it.")


def _check_schema(name: str, schema: Any, path: str, depth: int) -> None:
    where = f"Extraction {safe_repr(name)}: at {path or '/'}"
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        raise ConfigurationError(f"{where}: expected a schema, nested at most {MAX_DEPTH} levels.")
    if "enum" in schema:
        values = schema["enum"]
        if set(schema) > {"enum", "type"} or not isinstance(values, list | tuple) or not values:
            raise ConfigurationError(f"{where}: beside enum, only type may stand; its values are a list.")
        if not all(isinstance(value, _SCALARS) for value in values):
            raise ConfigurationError(f"{where}: the values of an enum are texts, numbers, booleans or null.")
        return
    kind = schema.get("type")
    if not isinstance(kind, str) or kind not in _KEYWORDS:
        raise ConfigurationError(f"{where}: expected enum, or one type of {', '.join(_KEYWORDS)}.")
    if unknown := sorted(set(schema) - _KEYWORDS[kind], key=str):
        raise ConfigurationError(f"{where}: {kind} with {unknown[0]!r} is not checked here. Leave it out.")
    if kind == "string" and schema.get("format") not in _FORMATS:
        raise ConfigurationError(
            f"{where}: a string would carry free text. Give it an enum, or a format of {', '.join(_FORMATS)}."
        )
    if kind == "array":
        _check_array(name, schema, path, depth)
    if kind == "object":
        _check_object(name, schema, path, depth)


def _check_array(name: str, schema: Mapping[str, Any], path: str, depth: int) -> None:
    most = schema.get("maxItems")
    if not isinstance(most, int) or isinstance(most, bool) or not 0 < most <= MAX_ITEMS:
        raise ConfigurationError(
            f"Extraction {name!r}: at {path or '/'}: an array needs maxItems of at most {MAX_ITEMS}."
        )
    _check_schema(name, schema.get("items"), f"{path}/items", depth + 1)


def _check_object(name: str, schema: Mapping[str, Any], path: str, depth: int) -> None:
    where, properties = f"Extraction {name!r}: at {path or '/'}", schema.get("properties", {})
    if schema.get("additionalProperties") is not False:
        raise ConfigurationError(f'{where}: an object needs "additionalProperties": false: names carry text too.')
    if not isinstance(properties, Mapping) or len(properties) > MAX_PROPERTIES:
        raise ConfigurationError(f"{where}: properties are a mapping of at most {MAX_PROPERTIES}.")
    for key, inner in properties.items():
        _check_schema(name, inner, f"{path}/{key}", depth + 1)


def _problem(value: Any, schema: Mapping[str, Any], path: str) -> str:
    """What is wrong with a value, or nothing."""
    where = path or "/"
    if "enum" in schema:
        allowed = any(type(value) is type(one) and value == one for one in schema["enum"])
        return "" if allowed else f"{where} is none of the enum"
    match schema["type"]:
        case "object":
            return _object_problem(value, schema, path)
        case "array":
            if not isinstance(value, list | tuple) or len(value) > schema["maxItems"]:
                return f"{where} is no array of at most {schema['maxItems']}"
            found = (_problem(item, schema["items"], f"{path}/{number}") for number, item in enumerate(value))
            return next((problem for problem in found if problem), "")
        case "string":
            return "" if _is_formatted(value, schema["format"]) else f"{where} is no {schema['format']}"
        case "boolean":
            return "" if isinstance(value, bool) else f"{where} is no boolean"
        case "null":
            return "" if value is None else f"{where} is not null"
        case kind:
            return "" if _is_number(value, schema) else f"{where} is no {kind} within its bounds"


def _object_problem(value: Any, schema: Mapping[str, Any], path: str) -> str:
    properties = schema.get("properties", {})
    if not isinstance(value, Mapping) or not set(value) <= set(properties):
        return f"{path or '/'} is no object of only {', '.join(properties) or 'nothing'}"
    if missing := sorted(set(schema.get("required", ())) - set(value)):
        return f"{path}/{missing[0]} is missing"
    found = (_problem(item, properties[key], f"{path}/{key}") for key, item in value.items())
    return next((problem for problem in found if problem), "")


def _is_formatted(value: Any, form: str) -> bool:
    if not isinstance(value, str) or len(value) > _MAX_FORMATTED:
        return False
    try:
        _FORMATS[form](value)
    except ValueError:
        return False
    return True


def _is_number(value: Any, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if schema["type"] == "integer" else int | float):
        return False
    least, most = schema.get("minimum", -MAX_NUMBER), schema.get("maximum", MAX_NUMBER)
    return math.isfinite(value) and max(least, -MAX_NUMBER) <= value <= min(most, MAX_NUMBER)
