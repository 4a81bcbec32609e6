"""Statements on mailboxes: what was sent to an agent in a workflow, and what of it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from messaging.log import rows

MAILBOX_COLUMNS: rows.Columns = (
    ("workflow_id", "uuid"),
    ("agent", "text"),
    ("sent", "bigint"),
    ("processed", "bigint"),
)
AT_ONCE = 2
"""So many mailboxes are changed one by one, each found by its key: what a message and its answer need."""

ON_MAILBOX = (
    "ON CONFLICT (workflow_id, agent) DO UPDATE SET sent = nexus_mailbox.sent + excluded.sent,"
    # Not past anything that waits: an agent may have become a program with deliveries still unhandled.
    " processed = CASE WHEN nexus_mailbox.processed = nexus_mailbox.sent"
    " THEN nexus_mailbox.processed + excluded.processed ELSE nexus_mailbox.processed END"
)
"""What counting into a mailbox does."""


@dataclass(slots=True)
class MailboxRow:
    id: int
    sent: int
    processed: int
    labels: str | None = None
    """What its agent knows, where it was read."""


def extend_mailboxes(
    added: Mapping[tuple[UUID, str], tuple[int, int]],
) -> dict[tuple[UUID, str], MailboxRow]:
    """Count deliveries into mailboxes, creating those that are missing.

    Args:
        added: (workflow, agent) → (how many more are sent, how many of them are processed at once).
    """
    saved = rows.insert(
        "nexus_mailbox",
        MAILBOX_COLUMNS,
        [(*key, *counts) for key, counts in sorted(added.items())],
        on_conflict=ON_MAILBOX,
        returning="workflow_id, agent, id, sent, processed, labels",
    )
    return {(rows.to_uuid(row[0]), row[1]): MailboxRow(*row[2:]) for row in saved}


def count_sent(sent: Mapping[int, int]) -> None:
    """Count ``sent`` of mailboxes up, by id."""
    for update in mailbox_updates({}, sent):
        rows.execute(update.sql, update.parameters)


def advance_mailboxes(processed: Mapping[int, int]) -> None:
    """Set ``processed`` of mailboxes by id."""
    if processed:
        update = mailboxes_update(processed)
        rows.execute(update.sql, update.parameters)


def mailbox_updates(processed: Mapping[int, int], sent: Mapping[int, int]) -> list[rows.Fragment]:
    """What sets ``processed`` of mailboxes and counts up ``sent``, both by id; different rows each."""
    if not sent:
        return [mailboxes_update(processed)] if processed else []
    keys = sorted(processed.keys() | sent.keys())
    if len(keys) > AT_ONCE:
        new = rows.table(("bigint",) * 3, [(key, sent.get(key, 0), processed.get(key)) for key in keys])
        return [
            rows.Fragment(
                "UPDATE nexus_mailbox SET sent = nexus_mailbox.sent + v.column2,"
                f" processed = COALESCE(v.column3, nexus_mailbox.processed) FROM {new.sql}"
                " WHERE nexus_mailbox.id = v.column1",
                new.parameters,
            )
        ]
    updates = []
    for key in keys:
        changes, values = ["sent = sent + %s"] * (key in sent), [sent[key]] if key in sent else []
        if key in processed:
            changes.append("processed = %s")
            values.append(processed[key])
        updates.append(rows.Fragment(f"UPDATE nexus_mailbox SET {', '.join(changes)} WHERE id = %s", [*values, key]))
    return updates


def mailboxes_update(processed: Mapping[int, int]) -> rows.Fragment:
    """What sets ``processed`` of mailboxes by id."""
    if len(processed) == 1:
        ((key, value),) = processed.items()
        return rows.Fragment("UPDATE nexus_mailbox SET processed = %s WHERE id = %s", [value, key])
    new = rows.table(("bigint", "bigint"), list(processed.items()))
    return rows.Fragment(
        f"UPDATE nexus_mailbox SET processed = v.column2 FROM {new.sql} WHERE nexus_mailbox.id = v.column1",
        new.parameters,
    )
