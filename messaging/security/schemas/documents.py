"""Looking into schemas as documents: what they refer to, what they declare, which dialect they are written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from messaging.core.errors import SchemaError
from messaging.core.strict_json import MAX_DEPTH, find_flaw

Document = dict[str, Any] | bool
"""A JSON Schema as Python data."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

MAX_SCHEMA_NODES = 20_000
"""Most values in one schema; what is larger belongs into several."""

# Beneath these stand values, not schemas: a "$ref" in there is data.
_VALUES = frozenset({"const", "enum", "default", "examples"})
# Beneath these stand schemas by name: a property may be called "$ref" or "enum".
_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})


def check_document(schema: Any, where: str) -> Document:
    """Refuse what is no schema at all, is too large, or is written in another dialect.

    Args:
        schema: what was read.
        where: what errors call it.

    Raises:
        SchemaError: says why.
    """
    if not isinstance(schema, dict | bool):
        raise SchemaError(f"{where}: a schema is a JSON object, true or false. Write the schema itself.")
    flaw = find_flaw(schema)
    if flaw is not None:
        raise SchemaError(f"{where}: {flaw.path or 'the schema'} {flaw.problem}.")
    for number, (pointer, node) in enumerate(walk(schema), 1):
        if number > MAX_SCHEMA_NODES:
            raise SchemaError(f"{where}: has more than {MAX_SCHEMA_NODES} subschemas. Split it.")
        dialect = node.get("$schema", DIALECT)
        if dialect not in (DIALECT, DIALECT + "#"):
            raise SchemaError(
                f"{where}: {pointer}/$schema is {str(dialect)[:100]!r}; write {DIALECT!r}, or leave it out."
            )
    return schema


def walk(schema: Any, pointer: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every subschema that is an object, with its JSON pointer, the whole first."""
    if depth > 2 * MAX_DEPTH:
        return
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from walk(item, f"{pointer}/{index}", depth + 1)
    if not isinstance(schema, dict):
        return
    yield pointer, schema
    for keyword, value in schema.items():
        if keyword in _VALUES:
            continue
        if keyword in _BY_NAME and isinstance(value, dict):
            for name, item in value.items():
                yield from walk(item, f"{pointer}/{escape(keyword)}/{escape(name)}", depth + 2)
        else:
            yield from walk(value, f"{pointer}/{escape(keyword)}", depth + 1)


def references(schema: Any) -> set[str]:
    """What the schema refers to, as it is written."""
    return {
        node[keyword]
        for _, node in walk(schema)
        for keyword in ("$ref", "$dynamicRef")
        if isinstance(node.get(keyword), str)
    }


def declared_names(schema: Any) -> frozenset[str]:
    """The names of properties that the schema itself mentions; these, and no others, may stand in an error."""
    names: set[str] = set()
    for _, node in walk(schema):
        for keyword in ("properties", "dependentSchemas", "dependentRequired"):
            value = node.get(keyword)
            names.update(value if isinstance(value, dict) else ())
        required = node.get("required")
        names.update(name for name in (required if isinstance(required, list) else ()) if isinstance(name, str))
    return frozenset(names)


def escape(token: str) -> str:
    """A part of a JSON pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")
