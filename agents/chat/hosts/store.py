"""The statements with which the chat manager reads and writes a chat: four for a turn, whatever its length.

The manager handles a message for each turn of each chat, so this is its hot path; Django's query builder costs more
than the statements themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from django.utils import timezone

from agents.chat.engine.effects import Effects
from agents.chat.engine.state import ChatState
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.messages import Entry
from messaging.extension import storable

MAX_NAME_LENGTH = 100

decode_said = msgspec.json.Decoder(Entry).decode


def to_time(seconds: float | None) -> datetime | None:
    """A time of the state as the database has it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def load(chat: UUID) -> tuple[str, ChatState] | None:
    """The definition and the state of a chat that goes on; None for one that is over or never was."""
    rows = _fetch(
        "SELECT definition, state FROM nexus_chat_session WHERE workflow_id = %s AND status = 'running'", [chat]
    )
    return (rows[0][0], ChatState.decode(rows[0][1])) if rows else None


def load_history(chat: UUID, team: TeamDefinition, state: ChatState) -> dict[str, list[Entry]]:
    """The entries that a step may look at: those that members get to see, and those that were not checked yet."""
    history: dict[str, list[Entry]] = {}
    for path in state.paths():
        own = state.at(path)
        if own is None or own.count == 0:
            continue
        rows = _fetch(
            "SELECT body FROM nexus_chat_entry WHERE session_id = %s AND path = %s AND number > %s ORDER BY number",
            [chat, path, min(own.checked, own.count - team.limits.history)],
        )
        history[path] = [decode_said(row[0]) for row in rows]
    return history


def save(chat: UUID, state: ChatState, effects: Effects, wake_at: float | None) -> None:
    """Write what a step made of a chat.

    Args:
        chat: its id.
        state: its new state.
        effects: of the step.
        wake_at: its next deadline, in seconds since the epoch.
    """
    if effects.entries:
        values = [
            value
            for path, entry in effects.entries
            for value in (
                chat,
                path,
                entry.number,
                storable(entry.speaker)[:MAX_NAME_LENGTH],
                entry.kind.value,
                msgspec.json.encode(entry).decode(),
                effects.snapshots.get(entry.number, "") if not path else "",
            )
        ]
        rows = ",".join(["(%s,%s,%s,%s,%s,%s,%s)"] * len(effects.entries))
        columns = "(session_id, path, number, speaker, kind, body, snapshot)"
        _execute(f"INSERT INTO nexus_chat_entry {columns} VALUES {rows}", values)  # noqa: S608 - placeholders only
    _execute(
        "UPDATE nexus_chat_session SET state = %s, messages = %s, wake_at = %s, status = %s, reason = %s, ended_at = %s"
        " WHERE workflow_id = %s",
        [
            state.encode(),
            state.count,
            to_time(wake_at),
            state.status.value,
            storable(state.reason),
            timezone.now() if effects.ended else None,
            chat,
        ],
    )


def _adapt(values: Iterable[Any]) -> list[Any]:
    if connection.vendor == "postgresql":
        return list(values)
    return [_for_sqlite(value) for value in values]


def _for_sqlite(value: Any) -> Any:
    if isinstance(value, UUID):
        return value.hex
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


def _fetch(sql: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, _adapt(values))
        return list(cursor.fetchall())


def _execute(sql: str, values: Iterable[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, _adapt(values))
