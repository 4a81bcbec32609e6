"""What is wrong with data, said without the data: a JSON pointer and what is expected there."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import jsonschema_rs

from messaging.security.schemas.compiled import CompiledSchema, pointer_of

MAX_PROBLEMS = 10
"""Most problems of one message that are told."""

MAX_SEARCHED = 500
"""Data of more values than this are told their first problem only: the library collects all errors before the first one
can be read, which takes seconds for what fits into one message."""

_MAX_SHOWN = 200
_WORDS = {
    "minimum": "at least {limit}",
    "maximum": "at most {limit}",
    "exclusiveMinimum": "more than {limit}",
    "exclusiveMaximum": "less than {limit}",
    "minLength": "{limit} characters or more",
    "maxLength": "{limit} characters or fewer",
    "minItems": "{limit} items or more",
    "maxItems": "{limit} items or fewer",
    "minProperties": "{limit} properties or more",
    "maxProperties": "{limit} properties or fewer",
    "multipleOf": "a multiple of {multiple_of}",
    "format": "the format {format}",
    "pattern": "text that matches {pattern}",
    "uniqueItems": "items that all differ",
    "contains": "an item that the schema's contains describes",
    "not": "something else than what the schema's not describes",
    "propertyNames": "other names of properties",
    "unevaluatedItems": "no further items",
    "unevaluatedProperties": "no property beyond the declared ones",
    "falseSchema": "nothing at all",
}


def problems_of(schema: CompiledSchema, data: Any) -> tuple[str, ...]:
    """What is wrong with data that do not follow a schema, at most ``MAX_PROBLEMS`` lines."""
    if _is_large(data):
        return _first_problem(schema, data)
    found = islice(schema.validator.iter_errors(data), MAX_PROBLEMS)
    return tuple(dict.fromkeys(_describe(error, schema.declared) for error in found))


def _first_problem(schema: CompiledSchema, data: Any) -> tuple[str, ...]:
    try:
        schema.validator.validate(data)
    except jsonschema_rs.ValidationError as error:
        return (_describe(error, schema.declared),)
    return ()


def _is_large(data: Any) -> bool:
    waiting, seen = [data], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if isinstance(value, dict | list):
            if seen + len(waiting) + len(value) > MAX_SEARCHED:
                return True
            waiting += value.values() if isinstance(value, dict) else value
    return False


def _describe(error: jsonschema_rs.ValidationError, declared: frozenset[str]) -> str:
    pointer = pointer_of(error.instance_path, declared)
    return f"data{pointer}: expected {_expected(error.kind, declared)}"


def _expected(kind: jsonschema_rs.ValidationErrorKind, declared: frozenset[str]) -> str:
    # Only what the schema says is read from an error. "unexpected" and "context" hold what the message says.
    name, facts = kind.name, kind.as_dict()
    if name == "type":
        return f"a value of type {' or '.join(facts['types'])}"
    if name == "required":
        return f"the property {facts['property']!r}"
    if name == "const":
        return _shown(facts["expected_value"])
    if name == "enum":
        return f"one of {_shown(facts['options'])}"
    if name == "additionalProperties":
        known = f", such as {', '.join(sorted(declared)[:8])}" if declared else ""
        return f"no property beyond the declared ones{known}"
    if name in ("anyOf", "oneOf", "oneOfMultipleValid", "oneOfNotValid"):
        number = len(facts.get("context", ()))
        return f"{'exactly one' if name.startswith('oneOf') else 'one'} of the {number} forms that the schema allows"
    words = _WORDS.get(name)
    return _cut(words.format_map(facts)) if words else f"what the schema's {name} says"


def _shown(value: Any) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "…"
