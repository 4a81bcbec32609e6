"""schema, size: what a message is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messaging.core.errors import ContentRulesError, SchemaError
from messaging.security.content.changes import ContentChange
from messaging.security.content.sanitizing import measure
from messaging.security.content.settings import ContentLimits
from messaging.security.schemas.compiled import CompiledSchema, compile_schema
from messaging.security.schemas.uri import SchemaKey
from messaging.security.schemas.validation import violation_of
from messaging.security.verification.rules import verification_rule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction


def _compile(settings: Mapping[str, Any]) -> dict[str, CompiledSchema]:
    try:
        return {
            type: compile_schema(SchemaKey(type, 1), document, f"the schema of {type!r}")
            for type, document in settings["schemas"].items()
        }
    except SchemaError as error:
        raise ContentRulesError(str(error), path="schemas") from None


@verification_rule(
    "schema",
    version=1,
    may=[VerdictAction.REJECT],
    schema={
        "type": "object",
        "properties": {"schemas": {"type": "object", "additionalProperties": {"type": ["object", "boolean"]}}},
        "required": ["schemas"],
        "additionalProperties": False,
    },
    defaults={"schemas": {}},
    prepare=_compile,
)
def schema(subject: VerificationSubject, schemas: dict[str, CompiledSchema]) -> Objection | None:
    """Data that do not follow a JSON Schema that stands in the settings, beside the one that the sender must follow."""
    compiled = schemas.get(subject.type)
    violation = violation_of(compiled, subject.data) if compiled is not None else None
    if violation is None:
        return None
    return Objection(VerdictAction.REJECT, f"does not follow its schema: {violation.problems[0]}")


def _limits(settings: Mapping[str, Any]) -> ContentLimits:
    return ContentLimits(**settings)


@verification_rule(
    "size",
    version=1,
    may=[VerdictAction.REJECT],
    schema={
        "type": "object",
        "properties": {name: {"type": "integer", "minimum": 1} for name in ("text_bytes", "depth", "items", "string")},
        "additionalProperties": False,
    },
    prepare=_limits,
)
def size(subject: VerificationSubject, limits: ContentLimits) -> Objection | None:
    """Data that are larger or deeper than they may be."""
    found = measure(subject.data, limits)
    return Objection(VerdictAction.REJECT, str(found)) if isinstance(found, ContentChange) else None
