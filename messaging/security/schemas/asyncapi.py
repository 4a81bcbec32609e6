"""An AsyncAPI 3 document of the agents, the types of message that they take, and their schemas."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from messaging.core.registry import AgentSpec
from messaging.security.schemas.documents import DIALECT, escape
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.sources import Found
from messaging.security.schemas.uri import PREFIX, SchemaKey, parse_uri

VERSION = "3.0.0"
FORMAT = "application/schema+json;version=draft-2020-12"

_VALUES = frozenset({"const", "enum", "default", "examples"})


def asyncapi_document(schemas: SchemaRegistry, specs: Iterable[AgentSpec], *, title: str) -> dict[str, Any]:
    """Make the document. Each agent is a channel, on which it receives the types that it accepts.

    Args:
        schemas: what is registered.
        specs: the agents.
        title: names the installation.
    """
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    untyped: set[str] = set()
    for spec in sorted(specs, key=lambda spec: spec.name):
        names = _messages_of(spec, schemas)
        untyped.update(name for type, name in names.items() if not schemas.versions(type))
        channel: dict[str, Any] = {
            "address": spec.name,
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names.values()},
        }
        if spec.description:
            channel["description"] = spec.description
        channels[spec.name] = channel
        operations[f"{spec.name}.receive"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{spec.name}"},
            "messages": [{"$ref": f"#/channels/{spec.name}/messages/{name}"} for name in names.values()],
        }
    messages = {name: {"name": name} for name in sorted(untyped)}
    messages |= {
        component(SchemaKey(type, schemas.versions(type)[-1])): _message(type, schemas) for type in schemas.types()
    }
    return {
        "asyncapi": VERSION,
        "info": {"title": title, "version": "1.0.0"},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": {component(item.key): _schema(item) for item in schemas}},
    }


def component(key: SchemaKey) -> str:
    """A schema's name among the components, where only some letters may stand."""
    return f"{_plain(key.type)}_v{key.version}"


def _plain(type: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "__", type)


def _messages_of(spec: AgentSpec, schemas: SchemaRegistry) -> dict[str, str]:
    """The types that an agent takes, each with its message's name."""
    named = [type for type in spec.accepts or () if not type.endswith(".*")]
    matching = [type for type in schemas.types() if spec.accepts is not None and spec.takes(type)]
    types = dict.fromkeys([*named, *matching])
    return {
        type: component(SchemaKey(type, versions[-1])) if (versions := schemas.versions(type)) else _plain(type)
        for type in types
    }


def _message(type: str, schemas: SchemaRegistry) -> dict[str, Any]:
    key = SchemaKey(type, schemas.versions(type)[-1])
    document = schemas.documents(type)[key.version]
    message: dict[str, Any] = {"name": type, "payload": {"$ref": f"#/components/schemas/{component(key)}"}}
    if isinstance(document, dict):
        if isinstance(document.get("title"), str):
            message["title"] = document["title"]
        if isinstance(document.get("description"), str):
            message["summary"] = document["description"]
    return message


def _schema(found: Found) -> dict[str, Any]:
    base = f"#/components/schemas/{escape(component(found.key))}/schema"
    document = {"$schema": DIALECT, **found.document} if isinstance(found.document, dict) else found.document
    return {"schemaFormat": FORMAT, "schema": _relocated(document, base)}


def _relocated(node: Any, base: str, *, named: bool = False) -> Any:
    """The schema with references that still lead where they led, now that it stands inside another document.

    Args:
        node: a part of it.
        base: where the schema stands in the document.
        named: the keys of this part are names, not keywords.
    """
    if isinstance(node, list):
        return [_relocated(item, base) for item in node]
    if not isinstance(node, dict):
        return node
    moved = {}
    for word, value in node.items():
        if not named and word == "$id":
            continue  # it would make references relative to itself again
        if not named and word == "$ref" and isinstance(value, str):
            moved[word] = _reference(value, base)
        elif not named and word in _VALUES:
            moved[word] = value
        else:
            by_name = not named and word in ("properties", "patternProperties", "$defs", "dependentSchemas")
            moved[word] = _relocated(value, base, named=by_name)
    return moved


def _reference(reference: str, base: str) -> str:
    uri, _, fragment = reference.partition("#")
    if uri.startswith(PREFIX):
        base = f"#/components/schemas/{escape(component(parse_uri(uri)))}/schema"
    elif uri:
        return reference
    return base + fragment
