"""A schema made ready to check messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import jsonschema_rs

from messaging.core.errors import SchemaError
from messaging.security.schemas.documents import Document, check_document, declared_names, escape
from messaging.security.schemas.uri import SchemaKey

# Rust's regex crate: linear in the text whatever the pattern. It has no look-around and no back-references; a pattern
# with one is refused when the schema is compiled.
PATTERNS = jsonschema_rs.RegexOptions(size_limit=1_000_000, dfa_size_limit=2_000_000)


# Formats that say something to people and programs that generate code; nothing is checked.
_ANNOTATIONS = dict.fromkeys(
    ("binary", "byte", "decimal", "double", "float", "int32", "int64", "password", "path"), lambda text: True
)


def refuse_to_fetch(uri: str) -> NoReturn:
    """The retriever: the library's own one would open connections and files.

    Raises:
        LookupError: always.
    """
    raise LookupError(f"{uri[:250]} is not registered here, and nothing is ever fetched")


@dataclass(frozen=True, slots=True)
class CompiledSchema:
    """One version of a type's schema.

    Args:
        key: type and version.
        document: the schema as it was written.
        origin: where it comes from, for people: a file, an agent, the database.
        validator: checks data.
        declared: the names of properties that the schema mentions.
        deprecated: senders should move to another version; ``"deprecated": true`` in the schema.
    """

    key: SchemaKey
    document: Document
    origin: str
    validator: jsonschema_rs.Draft202012Validator = field(repr=False, compare=False)
    declared: frozenset[str] = field(repr=False, compare=False)
    deprecated: bool = False


def compile_schema(
    key: SchemaKey,
    schema: Any,
    origin: str,
    resources: Mapping[str, Document] | None = None,
    *,
    derived: bool = False,
) -> CompiledSchema:
    """Compile a schema.

    Args:
        key: its type and version.
        schema: JSON Schema, draft 2020-12.
        origin: where it comes from; errors begin with it.
        resources: schemas that it may refer to, by URI. There are no others.
        derived: it was derived from a model, which may have formats that only its library checks. In a schema that a
            person wrote, an unknown format is a typing error.

    Raises:
        SchemaError: it is no valid schema; says at which JSON pointer.
    """
    document = check_document(schema, origin)
    names = declared_names([document, *(resources or {}).values()])
    deprecated = isinstance(document, dict) and document.get("deprecated") is True
    return CompiledSchema(
        key, document, origin, make_validator(document, origin, resources, derived=derived), names, deprecated
    )


def make_validator(
    document: Document, origin: str, resources: Mapping[str, Document] | None = None, *, derived: bool = False
) -> jsonschema_rs.Draft202012Validator:
    """The library's validator, with everything switched off that reaches outside.

    Raises:
        SchemaError: it is no valid schema.
    """
    try:
        return jsonschema_rs.Draft202012Validator(
            document,
            validate_formats=True,
            ignore_unknown_formats=derived,
            formats=_ANNOTATIONS,
            mask="(masked)",
            pattern_options=PATTERNS,
            retriever=refuse_to_fetch,
            registry=resource_registry(resources or {}, origin),
        )
    except jsonschema_rs.ValidationError as error:
        raise SchemaError(f"{origin}: {pointer_of(error.instance_path) or 'the schema'}: {_reason(error)}") from None
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise SchemaError(f"{origin}: {str(error).splitlines()[0][:300]}. Correct the schema.") from None


def resource_registry(resources: Mapping[str, Document], origin: str) -> jsonschema_rs.Registry | None:
    """What a schema may refer to, for the library.

    Raises:
        SchemaError: a resource cannot be used.
    """
    if not resources:
        return None
    try:
        return jsonschema_rs.Registry(
            list(resources.items()), draft=jsonschema_rs.Draft202012, retriever=refuse_to_fetch
        )
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise SchemaError(f"{origin}: what it refers to cannot be used: {str(error).splitlines()[0][:300]}.") from None


def pointer_of(path: Iterable[str | int], declared: frozenset[str] | None = None) -> str:
    """A path as a JSON pointer.

    Args:
        path: keys and indexes.
        declared: keys that may be shown, the others stand as ``*``: a key can be as secret as a value. None for all.
    """
    return "".join(
        f"/{escape(part) if declared is None or part in declared else '*'}" if isinstance(part, str) else f"/{part}"
        for part in path
    )


def _reason(error: jsonschema_rs.ValidationError) -> str:
    reason = error.message.splitlines()[0][:300]
    if 'not a "regex"' in reason:
        return f"{reason}: patterns may have no look-around and no back-reference, and are bounded in size."
    return f"{reason}. Correct the schema."
