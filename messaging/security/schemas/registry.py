"""Which schema a type and version has."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from messaging.core.errors import SchemaError, UnknownSchema
from messaging.security.schemas.compiled import CompiledSchema, compile_schema
from messaging.security.schemas.documents import Document, check_document, references
from messaging.security.schemas.sources import Found
from messaging.security.schemas.typed import converter_of
from messaging.security.schemas.uri import PREFIX, SchemaKey, build_uri, parse_uri

MAX_SCHEMAS = 10_000


class SchemaRegistry:
    """Schemas by type and version. A version never changes: adding another document under the same name is refused.

    Schemas are compiled when they are first asked for. They may refer to each other by URI, such as
    ``{"$ref": "urn:nexus:schema:address:1"}``.
    """

    def __init__(self, found: Iterable[Found] = ()) -> None:
        self._found: dict[SchemaKey, Found] = {}
        self._versions: dict[str, list[int]] = {}
        self._compiled: dict[SchemaKey, CompiledSchema] = {}
        self.add(found)

    def add(self, found: Iterable[Found]) -> None:
        """Add what a source has.

        Raises:
            SchemaError: a name is taken by another document, or there are too many.
        """
        for item in found:
            present = self._found.get(item.key)
            if present is not None:
                self._check_same(present, item)
                if item.model is None or present.model is not None:
                    continue
            if len(self._found) >= MAX_SCHEMAS:
                raise SchemaError(f"{item.origin}: there are {MAX_SCHEMAS} schemas already, the most that are allowed.")
            check_document(item.document, item.origin)
            self._found[item.key] = item
            self._versions[item.key.type] = sorted({*self._versions.get(item.key.type, ()), item.key.version})

    def resolve(self, type: str, version: int | None = None) -> CompiledSchema | None:
        """The schema of a type, or None when it has none.

        Args:
            type: of the message.
            version: None for the newest.

        Raises:
            UnknownSchema: the type has schemas, but not of that version.
            SchemaError: the schema is not valid.
        """
        versions = self._versions.get(type)
        if versions is None:
            return None
        key = SchemaKey(type, versions[-1] if version is None else version)
        return self._compiled.get(key) or self._compile(key)

    def resolve_uri(self, uri: str) -> CompiledSchema:
        """The schema that an envelope's ``dataschema`` names.

        Raises:
            SchemaError: the URI names no schema.
            UnknownSchema: there is no such schema.
        """
        key = parse_uri(uri)
        return self.require(*key)

    def require(self, type: str, version: int | None = None) -> CompiledSchema:
        """The schema of a type.

        Raises:
            UnknownSchema: there is none; says which name is meant, perhaps.
            SchemaError: the schema is not valid.
        """
        schema = self.resolve(type, version)
        if schema is None:
            near = difflib.get_close_matches(type, self._versions, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else "Put it in nexus_schemas/ of an app, or correct the type."
            raise UnknownSchema(f"Message type {type!r} has no schema. {hint}")
        return schema

    def knows(self, key: SchemaKey) -> bool:
        """Whether that very version of a type is here."""
        return key in self._found

    def versions(self, type: str) -> list[int]:
        """The versions of a type, the newest last."""
        return list(self._versions.get(type, ()))

    def documents(self, type: str) -> dict[int, Document]:
        """The schemas of a type by version, as they were written."""
        return {version: self._found[SchemaKey(type, version)].document for version in self.versions(type)}

    def uri_of(self, type: str) -> str | None:
        """What the envelope of a new message of that type has for ``dataschema``: the newest version, or None."""
        versions = self._versions.get(type)
        return build_uri(type, versions[-1]) if versions else None

    def converter(self, type: str, version: int) -> Callable[[Any], Any] | None:
        """What makes the handler's object of checked data; None when the schema came without a model."""
        found = self._found.get(SchemaKey(type, version))
        return None if found is None or found.model is None else converter_of(found.model)

    def resources(self, key: SchemaKey) -> dict[str, Document]:
        """The schemas that one refers to, and those that these refer to, by URI.

        Raises:
            UnknownSchema: one of them is not registered.
            SchemaError: a reference into our names is none.
        """
        needed: dict[str, Document] = {}
        open_keys = [key]
        while open_keys:
            current = open_keys.pop()
            for reference in references(self._found[current].document):
                uri = reference.partition("#")[0]
                if not uri.startswith(PREFIX) or uri in needed:
                    continue
                target = parse_uri(uri)
                if target not in self._found:
                    raise UnknownSchema(
                        f"{self._found[current].origin}: $ref {reference!r} names no registered schema."
                    )
                needed[uri] = self._found[target].document
                open_keys.append(target)
        needed.pop(build_uri(*key), None)
        return needed

    def all_resources(self, type: str) -> dict[str, Document]:
        """What the versions of a type refer to, all together. Raises as ``resources`` does."""
        return {
            uri: document
            for version in self.versions(type)
            for uri, document in self.resources(SchemaKey(type, version)).items()
        }

    def types(self) -> list[str]:
        """The types that have a schema."""
        return sorted(self._versions)

    def __iter__(self) -> Iterator[Found]:
        return iter([self._found[key] for key in sorted(self._found)])

    def __len__(self) -> int:
        return len(self._found)

    def _compile(self, key: SchemaKey) -> CompiledSchema:
        found = self._found.get(key)
        if found is None:
            known = ", ".join(map(str, self._versions[key.type]))
            raise UnknownSchema(f"Message type {key.type!r} has no schema of version {key.version}; it has {known}.")
        compiled = compile_schema(
            key, found.document, found.origin, self.resources(key), derived=found.model is not None
        )
        self._compiled[key] = compiled
        return compiled

    def _check_same(self, present: Found, item: Found) -> None:
        if _without_id(present.document) != _without_id(item.document):
            raise SchemaError(
                f"{item.origin}: {item.key} is defined differently in {present.origin}. A version never changes: give "
                "the new one the next number."
            )


def _without_id(document: Any) -> Any:
    """The document without its name, its dialect and its mark of deprecation, which may come later."""
    if not isinstance(document, dict):
        return document
    return {word: value for word, value in document.items() if word not in ("$id", "$schema", "deprecated")}
