"""Registering a schema in the database: it is compared with the older versions first."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from messaging.core.errors import IncompatibleSchema, SchemaError
from messaging.models import Compatibility, MessageSchema
from messaging.security.schemas.compatibility import Comparison, Coverage, compare_all
from messaging.security.schemas.compiled import compile_schema
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.sources import Found
from messaging.security.schemas.uri import SchemaKey


def register(
    registry: SchemaRegistry,
    key: SchemaKey,
    document: Any,
    *,
    mode: Compatibility = Compatibility.FULL_TRANSITIVE,
    by: str,
    override_reason: str = "",
) -> MessageSchema:
    """Store a new version of a type's schema.

    Args:
        registry: everything that is registered, from files and agents too; the new schema is added to it.
        key: type and version; the version after the newest one.
        document: the schema.
        mode: which versions must be able to read which.
        by: who registers it.
        override_reason: why it is accepted although it is not proven compatible. It does not help a version that is
            proven to break another one; choose another mode for that.

    Raises:
        SchemaError: the schema is not valid, or the version is not the next one.
        IncompatibleSchema: it breaks an older version, with a sample, or is not proven to keep it.
    """
    newest = max(registry.versions(key.type), default=0)
    if key.version != newest + 1:
        raise SchemaError(f"{key}: the next version of {key.type!r} is {newest + 1}. A version never changes.")
    trial = SchemaRegistry(registry)
    trial.add([Found(key, document, str(key))])
    resources = trial.resources(key)
    compile_schema(key, document, str(key), resources)
    refuse_breaking(
        compare_all(key.type, trial.documents(key.type), key.version, mode, trial.all_resources(key.type)),
        override_reason,
    )
    row = MessageSchema(
        type=key.type,
        version=key.version,
        document=document,
        compatibility=mode,
        registered_by=by[:150],
        override_reason=override_reason,
    )
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise SchemaError(f"{key} was registered by somebody else meanwhile. Look at it and try again.") from None
    registry.add([Found(key, document, f"database, {key}")])
    return row


def refuse_breaking(comparisons: list[Comparison], override_reason: str = "") -> None:
    """Refuse a version for what the comparisons found.

    Raises:
        IncompatibleSchema: a comparison says no, or is not proven and there is no reason to accept that.
    """
    broken = [item for item in comparisons if item.answer is Coverage.NO]
    if broken:
        raise IncompatibleSchema(
            f"{broken[0]}. Make what is new optional and keep what is old, or choose another compatibility."
        )
    unproven = [item for item in comparisons if item.answer is Coverage.UNKNOWN]
    if unproven and not override_reason:
        raise IncompatibleSchema(f"{unproven[0]}. Look at it, and say why it is safe (an override with its reason).")
