"""What happens to the rows of messages: publish, claim, settle, release, dead-letter. Plain SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from time import time
from typing import Any

import msgspec

from messaging.brokers.base import Confirmation, OutgoingMessage
from messaging.brokers.embedded.owners import is_alive
from messaging.brokers.embedded.routing import route

_INSERT = "INSERT INTO message (queue, routing_key, content_type, headers, body) VALUES (?, ?, ?, ?, ?)"
_READY = "SELECT count(*) FROM message WHERE queue = ? AND claimed_by IS NULL"
_CLAIM = """
    UPDATE message SET claimed_by = ?, claimed_at = ?, deliveries = deliveries + 1
    WHERE id IN (SELECT id FROM message WHERE queue = ? AND claimed_by IS NULL ORDER BY id LIMIT ?)
    RETURNING id, body, headers, content_type, deliveries
"""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def decode_headers(stored: bytes) -> dict[str, Any]:
    """Return headers as they were published."""
    return _decode(stored)


def publish(connection: sqlite3.Connection, messages: Sequence[OutgoingMessage]) -> dict[str, Confirmation]:
    """Insert a burst, inside a transaction, and say what became of each message."""
    known: dict[str, Confirmation] = {}
    routes: dict[tuple[str, str], list[str] | None] = {}
    room: dict[str, float] = {}
    rows = []
    for message in messages:
        destination = message.exchange, message.routing_key
        if destination not in routes:
            routes[destination] = route(connection, *destination)
            for queue in routes[destination] or ():
                if queue not in room:
                    room[queue] = _room(connection, queue)
        queues = routes[destination]
        if queues is None or not queues:
            known[message.id] = Confirmation.RETURNED
        else:
            headers = _encode(message.headers)
            known[message.id] = Confirmation.CONFIRMED
            for queue in queues:
                if room[queue] <= 0:
                    known[message.id] = Confirmation.REFUSED
                    continue
                room[queue] -= 1
                rows.append((queue, message.routing_key, message.content_type, headers, message.body))
    connection.executemany(_INSERT, rows)
    return known


def _room(connection: sqlite3.Connection, queue: str) -> float:
    (max_length,) = connection.execute("SELECT max_length FROM queue WHERE name = ?", (queue,)).fetchone()
    return float("inf") if max_length is None else max_length - count_ready(connection, queue)


def count_ready(connection: sqlite3.Connection, queue: str) -> int:
    """Return how many messages of a queue nobody holds."""
    count: int = connection.execute(_READY, (queue,)).fetchone()[0]
    return count


def has_ready(connection: sqlite3.Connection, queue: str) -> bool:
    """Return whether there is a message that nobody holds. Reads only."""
    found = connection.execute("SELECT 1 FROM message WHERE queue = ? AND claimed_by IS NULL LIMIT 1", (queue,))
    return found.fetchone() is not None


def claim(
    connection: sqlite3.Connection, queue: str, owner: str, limit: int
) -> list[tuple[int, bytes, bytes, str, int]]:
    """Take the oldest messages that nobody holds, inside a transaction.

    Those that were handed out too often go to the dead-letter exchange instead.

    Returns:
        Rows of (id, body, headers, content type, deliveries), oldest first.
    """
    rows = sorted(connection.execute(_CLAIM, (owner, time(), queue, limit)).fetchall())
    found = connection.execute("SELECT delivery_limit FROM queue WHERE name = ?", (queue,)).fetchone()
    if found is None or found[0] is None:
        return rows
    highest = found[0] + 1  # RabbitMQ counts returns, not deliveries
    dead_letter(connection, [row[0] for row in rows if row[4] > highest], "delivery_limit")
    return [row for row in rows if row[4] <= highest]


def settle(connection: sqlite3.Connection, owner: str, ids: Iterable[int]) -> None:
    """Delete handled messages, unless somebody else has claimed them meanwhile."""
    connection.executemany("DELETE FROM message WHERE id = ? AND claimed_by = ?", [(id_, owner) for id_ in ids])


def release(connection: sqlite3.Connection, owner: str, id_: int | None = None) -> None:
    """Give back one message, or everything that an owner holds."""
    connection.execute(
        "UPDATE message SET claimed_by = NULL, claimed_at = NULL WHERE claimed_by = ? AND id = ifnull(?, id)",
        (owner, id_),
    )


def reject(connection: sqlite3.Connection, owner: str, id_: int) -> None:
    """Dead-letter one message, unless somebody else has claimed it meanwhile."""
    held = connection.execute("SELECT 1 FROM message WHERE id = ? AND claimed_by = ?", (id_, owner)).fetchone()
    if held is not None:
        dead_letter(connection, (id_,), "rejected")


def stale_owners(connection: sqlite3.Connection, visibility_timeout: float) -> list[str]:
    """Return the owners that are dead, or held a message longer than ``visibility_timeout`` seconds. Reads only."""
    oldest = time() - visibility_timeout
    owners = connection.execute(
        "SELECT claimed_by, min(claimed_at) FROM message WHERE claimed_by IS NOT NULL GROUP BY claimed_by"
    )
    return [owner for owner, since in owners.fetchall() if since < oldest or not is_alive(owner)]


def release_stale(connection: sqlite3.Connection, owners: Iterable[str], visibility_timeout: float) -> None:
    """Release what dead owners hold, and what the others have held too long."""
    oldest = time() - visibility_timeout
    for owner in owners:
        connection.execute(
            "UPDATE message SET claimed_by = NULL, claimed_at = NULL WHERE claimed_by = ? AND (? OR claimed_at < ?)",
            (owner, not is_alive(owner), oldest),
        )


def dead_letter(connection: sqlite3.Connection, ids: Iterable[int], reason: str) -> None:
    """Move messages through their queue's dead-letter exchange, marked as by RabbitMQ; drop them if it has none."""
    for id_ in ids:
        found = connection.execute(
            "DELETE FROM message WHERE id = ? RETURNING queue, routing_key, content_type, headers, body", (id_,)
        ).fetchone()
        if found is None:
            continue
        queue, routing_key, content_type, headers, body = found
        target = connection.execute("SELECT dead_letter_exchange FROM queue WHERE name = ?", (queue,)).fetchone()
        queues = route(connection, target[0], routing_key) if target and target[0] else None
        marked = _encode(_mark(decode_headers(headers), queue, reason))
        connection.executemany(_INSERT, [(name, routing_key, content_type, marked, body) for name in queues or ()])


def _mark(headers: dict[str, Any], queue: str, reason: str) -> dict[str, Any]:
    earlier = [death for death in headers.get("x-death", ()) if (death["queue"], death["reason"]) != (queue, reason)]
    count = len(headers.get("x-death", ())) - len(earlier) + 1
    first = {"x-first-death-reason": reason, "x-first-death-queue": queue}
    return {**first, **headers, "x-death": [{"queue": queue, "reason": reason, "count": count}, *earlier]}
