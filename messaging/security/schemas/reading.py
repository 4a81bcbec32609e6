"""What an agent's handler gets of a message: its data in the newest version, or as the object that the agent declared.

The envelope in the log stays as it was signed; this makes a copy of it, and only where something has to change.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from messaging.core.envelope import Envelope
from messaging.core.errors import SchemaError, UnreadableData
from messaging.core.registry import AgentSpec
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.typed import converter_of
from messaging.security.schemas.upcasting import upcasters
from messaging.security.schemas.uri import SchemaKey, parse_name, read_uri, uri_of

_key_of_name = lru_cache(maxsize=1_024)(parse_name)


def read_for(spec: AgentSpec, envelope: Envelope, schemas: SchemaRegistry) -> Envelope:
    """The message as the agent's handler gets it.

    Args:
        spec: the agent.
        envelope: of a message whose data follow their schema.
        schemas: that this process knows.

    Raises:
        UnreadableData: an upcaster is missing or failed, or the agent's class refused the data.
    """
    versions = schemas.versions(envelope.type)
    if not versions:
        return envelope
    model, wanted = _model_of(spec, envelope.type)
    if model is None:
        wanted = versions[-1]
    try:
        version = versions[-1] if envelope.dataschema is None else read_uri(envelope.dataschema).version
        data = envelope.data
        if version < wanted:
            data = upcasters.bring(schemas, SchemaKey(envelope.type, version), data, wanted)
    except SchemaError as error:
        raise UnreadableData(str(error)) from None
    if model is not None:
        data = _convert(model, envelope.type, data)
    elif version >= wanted:
        return envelope
    return msgspec.structs.replace(envelope, data=data, dataschema=uri_of(SchemaKey(envelope.type, wanted)))


def _model_of(spec: AgentSpec, type: str) -> tuple[Any, int]:
    """The agent's class for a type, of the newest version that it has one for."""
    newest: tuple[Any, int] = (None, 0)
    for name, model in spec.models.items():
        key = _key_of_name(name)
        if key.type == type and key.version > newest[1]:
            newest = model, key.version
    return newest


def _convert(model: Any, type: str, data: Any) -> Any:
    try:
        return converter_of(model)(data)
    except Exception as error:  # noqa: BLE001 - the class is the user's, and so is what its checks raise
        # An exception's text may quote the data, so only its kind is told.
        raise UnreadableData(
            f"Message type {type!r}: {getattr(model, '__name__', model)} raised {error.__class__.__name__} for data "
            "that follow the schema. Say the rule in the schema too, so that such a message is refused when it is sent."
        ) from None
