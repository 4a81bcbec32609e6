"""Who still sends by a deprecated schema: read from the log, which has what all processes sent."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec

from messaging.core.errors import SchemaError
from messaging.core.ids import uuid7_floor
from messaging.models import Message
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.uri import SchemaKey, read_uri

MAX_READ = 20_000
"""Messages that are looked at, the newest."""


class _Named(msgspec.Struct):
    dataschema: str | None = None


_decode = msgspec.json.Decoder(_Named).decode


def deprecated_senders(schemas: SchemaRegistry, since: datetime) -> dict[SchemaKey, Counter[str]]:
    """How many messages each sender sent by each deprecated schema; those that nobody uses are left out.

    Args:
        schemas: says what is deprecated.
        since: not older than this.
    """
    deprecated = {
        found.key for found in schemas if isinstance(found.document, dict) and found.document.get("deprecated") is True
    }
    if not deprecated:
        return {}
    sent = Message.objects.filter(pk__gte=uuid7_floor(since), type__in={key.type for key in deprecated})
    uses: dict[SchemaKey, Counter[str]] = {}
    for type, source, body in sent.order_by("-pk").values_list("type", "source", "envelope")[:MAX_READ]:
        key = _key_of(schemas, type, bytes(body))
        if key in deprecated:
            uses.setdefault(key, Counter())[source] += 1
    return uses


def _key_of(schemas: SchemaRegistry, type: str, body: bytes) -> SchemaKey | None:
    try:
        uri = _decode(body).dataschema
        return SchemaKey(type, schemas.versions(type)[-1]) if uri is None else read_uri(uri)
    except (SchemaError, msgspec.MsgspecError):
        return None  # no message of ours: somebody changed the row
