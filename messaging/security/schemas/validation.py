"""Checking messages against their schemas, a batch at a time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from messaging.core.errors import SchemaError, SchemaViolation
from messaging.security.schemas.compiled import CompiledSchema
from messaging.security.schemas.problems import problems_of
from messaging.security.schemas.registry import SchemaRegistry

logger = logging.getLogger("nexus.schemas")

MAX_REMEMBERED_WARNINGS = 1_000


class UnknownTypes(StrEnum):
    """What becomes of messages whose type has no schema (``NEXUS["UNKNOWN_TYPES"]``)."""

    ALLOW = "allow"
    WARN = "warn"  # once for each type and process
    REFUSE = "refuse"


class SchemaCandidate(NamedTuple):
    """A message that is to be checked.

    Args:
        type: its type.
        version: of its schema; None for the newest.
        data: what it says.
    """

    type: str
    version: int | None
    data: Any


class SchemaVerdict(NamedTuple):
    """What a check found.

    Args:
        schema: what the data were checked against; None when there is none.
        violation: why the message is refused; None when it may pass.
    """

    schema: CompiledSchema | None
    violation: SchemaViolation | None


class SchemaChecker:
    """Checks batches of messages.

    Args:
        registry: the schemas.
        unknown_types: what becomes of messages whose type has none.
    """

    def __init__(self, registry: SchemaRegistry, unknown_types: UnknownTypes = UnknownTypes.ALLOW) -> None:
        self.registry = registry
        self._unknown_types = unknown_types
        self._warned: set[str] = set()

    def check(self, batch: Sequence[SchemaCandidate]) -> list[SchemaVerdict]:
        """Check a batch; each schema is looked up once. The verdicts stand in the order of the messages."""
        schemas: dict[tuple[str, int | None], CompiledSchema | SchemaViolation | None] = {}
        verdicts = []
        for type, version, data in batch:
            name = type, version
            if name not in schemas:
                schemas[name] = self._look_up(type, version)
            schema = schemas[name]
            if schema is None:
                verdicts.append(SchemaVerdict(None, None))
            elif isinstance(schema, SchemaViolation):
                verdicts.append(SchemaVerdict(None, schema))
            else:
                verdicts.append(SchemaVerdict(schema, violation_of(schema, data)))
        return verdicts

    def _look_up(self, type: str, version: int | None) -> CompiledSchema | SchemaViolation | None:
        try:
            schema = self.registry.resolve(type, version)
        except SchemaError as error:  # fail closed: a named version that nobody has cannot be checked
            return SchemaViolation(type, version or 0, (str(error),))
        if schema is not None or self._unknown_types is UnknownTypes.ALLOW:
            return schema
        if self._unknown_types is UnknownTypes.REFUSE:
            hint = 'it has no schema, and NEXUS["UNKNOWN_TYPES"] is refuse. Put one in nexus_schemas/ of an app.'
            return SchemaViolation(type, version or 0, (hint,))
        if type not in self._warned and len(self._warned) < MAX_REMEMBERED_WARNINGS:
            self._warned.add(type)
            logger.warning("Messages of type %r have no schema and are not checked.", type)
        return None


def violation_of(schema: CompiledSchema, data: Any) -> SchemaViolation | None:
    """What is wrong with data, or None when they follow the schema."""
    try:
        if schema.validator.is_valid(data):
            return None
        problems = problems_of(schema, data)
    except ValueError:  # the library's limit of recursion, or a number that it cannot read
        problems = ()
    return SchemaViolation(*schema.key, problems or ("data: expected what the schema can be checked against",))
