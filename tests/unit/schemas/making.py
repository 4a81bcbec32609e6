"""Schemas made for tests."""

from __future__ import annotations

from typing import Any

from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.sources import Found
from messaging.security.schemas.uri import parse_name

INTEGER = {"type": "integer"}
TEXT = {"type": "string"}


def thing(*required: str, **properties: Any) -> dict[str, Any]:
    """The schema of an object."""
    return {"type": "object", "properties": properties, "required": list(required)}


def found(name: str, document: Any, origin: str = "a test") -> Found:
    return Found(parse_name(name), document, origin)


def registry_of(**documents: Any) -> SchemaRegistry:
    """A registry of ``order_v1=…``: the type "order", version 1."""
    return SchemaRegistry(found(name.replace("_v", ":"), document) for name, document in documents.items())
