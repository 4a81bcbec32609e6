"""A long log: handled messages, filled in by COPY, as handling them would have left them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import md5
from uuid import UUID

import psycopg

from bench.ground import BenchError
from bench.progress import say

CHUNK = 50_000
TOLD_EVERY = 250_000
PER_WORKFLOW = 1_000
BYTES_A_MESSAGE = 1_700
"""With its delivery, its processed-ID and all indexes; measured, rounded up."""

SPARE_BYTES = 15_000_000_000

SENDERS = ("pong", "ping")
RECIPIENTS = ("ping", "pong")

WORKFLOWS = (
    "INSERT INTO nexus_workflow"
    " (id, name, status, status_reason, sequence, failure_policy, gap_policy, idle_policy, created_at)"
    " SELECT id, 'long log', 'running', '', %s, 'park', 'park', 'park', now() - interval '1 year'"
    " FROM unnest(%s::uuid[]) AS id"
)
MAILBOXES = (
    "INSERT INTO nexus_mailbox (workflow_id, agent, sent, processed) SELECT id, agent, %s, %s"
    " FROM unnest(%s::uuid[]) AS id, unnest(ARRAY['ping', 'pong']) AS agent RETURNING workflow_id, agent, id"
)
COPIES = {
    "nexus_message": "id, workflow_id, sequence, type, source, subject, envelope, signature, created_at",
    "nexus_delivery": (
        "id, message_id, workflow_id, mailbox_id, agent, position, queue, state, attempts, redeliveries, available_at,"
        " settled_at, last_error"
    ),
    "nexus_processed_message": "message_id, consumer, expires_at",
}


def _id(kind: int, number: int, part: int) -> str:
    """Ids sort by time, as UUIDv7 do, and lie years back."""
    return f"{1_730_000_000_000 + number:012x}7{kind:03x}8{number:011x}{part:04x}"


def _lines(first: int, last: int, mailboxes: Mapping[tuple[UUID, str], int]) -> dict[str, list[str]]:
    """Rows of messages as COPY takes them. Message n of all is in workflow n / 1000, with the sequence n % 1000 + 1."""
    now = datetime.now(UTC)
    past, expires = (now - timedelta(days=365)).isoformat(), (now + timedelta(days=7)).isoformat()
    lines: dict[str, list[str]] = {name: [] for name in COPIES}
    messages, deliveries, processed = lines.values()
    for number in range(first, last):
        workflow, place = _id(1, number // PER_WORKFLOW, 0), number % PER_WORKFLOW
        message, agent = _id(2, number, 0), RECIPIENTS[number % 2]
        envelope = (md5(str(number).encode(), usedforsecurity=False).hexdigest() * 18).encode().hex()
        messages.append(
            f"{message}\t{workflow}\t{place + 1}\trace.leg\t{SENDERS[number % 2]}\t{agent}\t\\\\x{envelope}\t\t{past}\n"
        )
        mailbox = mailboxes[UUID(workflow), agent]
        deliveries.append(
            f"{_id(2, number, 1)}\t{message}\t{workflow}\t{mailbox}\t{agent}\t{place // 2 + 1}\ttransactional"
            f"\tprocessed\t0\t0\t{past}\t{past}\t\n"
        )
        processed.append(f"{message}\t{agent}\t{expires}\n")
    return lines


def fill(url: str, messages: int) -> None:
    """Add handled messages to a log.

    Args:
        url: of the database.
        messages: how many; rounded down to whole workflows.

    Raises:
        BenchError: the disk has too little room for them.
    """
    free = shutil.disk_usage("/").free
    if free < messages * BYTES_A_MESSAGE + SPARE_BYTES:
        raise BenchError(
            f"{messages:,} messages need {messages * BYTES_A_MESSAGE / 1e9:.0f} GB, and {free / 1e9:.0f} GB are free; "
            "choose fewer with --log"
        )
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute("SELECT count(*) FROM nexus_workflow WHERE name = 'long log'").fetchone()
        first = (row[0] if row else 0) * PER_WORKFLOW
        end = first + messages
        connection.execute("SET session_replication_role = replica")  # foreign keys are right by construction
        for start in range(first, end, CHUNK):
            last = min(start + CHUNK, end)
            half = PER_WORKFLOW // 2
            workflows = [_id(1, number, 0) for number in range(start // PER_WORKFLOW, -(-last // PER_WORKFLOW))]
            connection.execute(WORKFLOWS.encode(), [PER_WORKFLOW, workflows])
            made = connection.execute(MAILBOXES.encode(), [half, half, workflows]).fetchall()
            mailboxes = {(workflow, agent): identifier for workflow, agent, identifier in made}
            for name, lines in _lines(start, last, mailboxes).items():
                with connection.cursor().copy(f"COPY {name} ({COPIES[name]}) FROM STDIN".encode()) as copy:
                    copy.write("".join(lines))
            if last % TOLD_EVERY == 0 or last == end:
                say(f"filling the log: {last:,} of {end:,}")
        connection.execute("VACUUM (ANALYZE) nexus_message, nexus_delivery, nexus_processed_message")
        connection.execute("VACUUM (ANALYZE) nexus_workflow, nexus_mailbox")
