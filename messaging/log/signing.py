"""Statements on signatures that a batch runs: which keys hold, where group messages go, what stays valid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from uuid import UUID

from messaging.core.ids import MAX_DELIVERIES, delivery_id, message_id_of
from messaging.log import rows

NO_TOKEN = UUID(int=0)
READ_STATE = "SELECT token FROM nexus_signing_state WHERE id = 1"


def read_signing_token() -> UUID:
    """What every change of keys renews. A token that was rolled back is never given again."""
    return token_of(rows.fetch(READ_STATE))


def token_of(found: Sequence[rows.Row]) -> UUID:
    """The answer to ``READ_STATE``."""
    return rows.to_uuid(found[0][0]) if found else NO_TOKEN


def read_places(messages: Collection[UUID]) -> dict[UUID, dict[UUID, tuple[str, int]]]:
    """Message → delivery → (agent, position), in the order of the deliveries' numbers."""
    ranges = rows.table(("uuid", "uuid"), [(message, delivery_id(message, MAX_DELIVERIES)) for message in messages])
    found = rows.fetch(
        f"SELECT d.id, d.agent, d.position FROM {ranges.sql} JOIN nexus_delivery d"
        " ON d.id > v.column1 AND d.id <= v.column2 ORDER BY d.id",
        ranges.parameters,
    )
    places: dict[UUID, dict[UUID, tuple[str, int]]] = defaultdict(dict)
    for identifier, agent, position in found:
        delivery = rows.to_uuid(identifier)
        places[message_id_of(delivery)][delivery] = (agent, position)
    return dict(places)


def read_exemptions(messages: Collection[UUID]) -> set[tuple[str, UUID, str]]:
    """(key, message, digest) of what was stored before its key was revoked."""
    wanted = rows.among(messages)
    found = rows.fetch(
        f"SELECT kid, message, digest FROM nexus_signing_exemption WHERE message {wanted.sql}", wanted.parameters
    )
    return {(kid, rows.to_uuid(message), digest) for kid, message, digest in found}
