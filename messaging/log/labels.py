"""Statements on labels. None of them runs for messages without any."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from messaging.log import rows


class EndorsementRow(NamedTuple):
    """What a person decided about a message."""

    message_id: UUID
    kind: str
    after: str


_COLUMNS: rows.Columns = (
    ("message_id", "uuid"),
    ("kind", "text"),
    ("who", "text"),
    ("reason", "text"),
    ("before", "text"),
    ("after", "text"),
    ("at", "timestamptz"),
)


def read_endorsements(message_ids: Collection[UUID]) -> list[EndorsementRow]:
    """What people decided about messages, the earliest first."""
    wanted = rows.among(message_ids)
    found = rows.fetch(
        "SELECT message_id, kind, after FROM nexus_label_endorsement"
        f" WHERE kind <> 'extraction' AND message_id {wanted.sql} ORDER BY id",
        wanted.parameters,
    )
    return [EndorsementRow(rows.to_uuid(row[0]), row[1], row[2]) for row in found]


def insert_endorsements(endorsements: Sequence[rows.Row]) -> None:
    """Insert endorsements: a row each with the columns from ``message_id`` to ``at``."""
    rows.insert("nexus_label_endorsement", _COLUMNS, endorsements)


def read_envelopes(message_ids: Collection[UUID]) -> dict[UUID, bytes]:
    """Envelopes of messages; those that the log does not have are left out."""
    wanted = rows.among(message_ids)
    found = rows.fetch(f"SELECT id, envelope FROM nexus_message WHERE id {wanted.sql}", wanted.parameters)
    return {rows.to_uuid(row[0]): bytes(row[1]) for row in found}


def save_mailbox_labels(labels: Mapping[int, str]) -> None:
    """Set what mailboxes' agents remember, by id of the mailbox."""
    new = rows.table(("bigint", "text"), sorted(labels.items()))
    rows.execute(
        f"UPDATE nexus_mailbox SET labels = v.column2 FROM {new.sql} WHERE nexus_mailbox.id = v.column1",
        new.parameters,
    )
