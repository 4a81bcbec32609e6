"""A long log: millions of handled messages, written by PostgreSQL itself, as handling them would have left them."""

from __future__ import annotations

import shutil

import psycopg

from bench.ground import BenchError
from bench.progress import say

CHUNK = 500_000
PER_WORKFLOW = 1_000
BYTES_A_MESSAGE = 1_700
"""With its delivery, its processed-ID and all indexes; measured, rounded up."""

SPARE_BYTES = 15_000_000_000

LONG_AGO = 1_730_000_000_000
"""Milliseconds since 1970 at which a log begins unless asked otherwise."""

# Ids sort by time, as UUIDv7 do. Message n of all: workflow n / per, sequence n % per + 1.
STATEMENTS = (
    """CREATE OR REPLACE FUNCTION bench_id(kind int, n bigint, part int) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
       SELECT (lpad(to_hex({begin} + n * {every} * CASE kind WHEN 1 THEN {per} ELSE 1 END), 12, '0')
               || '7' || lpad(to_hex(kind), 3, '0') || '8' || lpad(to_hex(n), 11, '0')
               || lpad(to_hex(part), 4, '0'))::uuid $$""",
    """INSERT INTO nexus_workflow (id, name, status, status_reason, sequence, failure_policy, gap_policy, idle_policy,
                                   created_at)
       SELECT bench_id(1, w, 0), 'long log', 'running', '', {per}, 'park', 'park', 'park',
              to_timestamp(({begin} + w::bigint * {per} * {every}) / 1000.0)
       FROM generate_series({first} / {per}, ({last} - 1) / {per}) AS w""",
    """INSERT INTO nexus_mailbox (workflow_id, agent, sent, processed)
       SELECT bench_id(1, w, 0), agent, {per} / 2, {per} / 2
       FROM generate_series({first} / {per}, ({last} - 1) / {per}) AS w, unnest(ARRAY['ping', 'pong']) AS agent""",
    """INSERT INTO nexus_message (id, workflow_id, sequence, type, source, subject, envelope, signature, created_at)
       SELECT bench_id(2, n, 0), bench_id(1, n / {per}, 0), n % {per} + 1, 'race.leg',
              CASE n % 2 WHEN 0 THEN 'pong' ELSE 'ping' END, CASE n % 2 WHEN 0 THEN 'ping' ELSE 'pong' END,
              convert_to(repeat(md5(n::text), 18), 'UTF8'), '', to_timestamp(({begin} + n::bigint * {every}) / 1000.0)
       FROM generate_series({first}, {last} - 1) AS n""",
    """INSERT INTO nexus_delivery (id, message_id, workflow_id, mailbox_id, agent, position, queue, state, attempts,
                                   redeliveries, available_at, settled_at, last_error)
       SELECT bench_id(2, n, 1), bench_id(2, n, 0), m.workflow_id, m.id, m.agent, n % {per} / 2 + 1, 'transactional',
              'processed', 0, 0, to_timestamp(({begin} + n::bigint * {every}) / 1000.0),
              to_timestamp(({begin} + n::bigint * {every}) / 1000.0), ''
       FROM generate_series({first}, {last} - 1) AS n
       JOIN nexus_mailbox m ON m.workflow_id = bench_id(1, n / {per}, 0)
        AND m.agent = CASE n % 2 WHEN 0 THEN 'ping' ELSE 'pong' END""",
    """INSERT INTO nexus_processed_message (message_id, consumer, expires_at)
       SELECT bench_id(2, n, 0), CASE n % 2 WHEN 0 THEN 'ping' ELSE 'pong' END, now() + interval '7 days'
       FROM generate_series({first}, {last} - 1) AS n""",
)


def fill(url: str, messages: int, *, per: int = PER_WORKFLOW, begin: int = LONG_AGO, every: int = 1) -> None:
    """Add handled messages to a log.

    Args:
        url: of the database.
        messages: how many; rounded down to whole workflows.
        per: messages of each workflow, an even number.
        begin: when the first was sent, in milliseconds since 1970.
        every: milliseconds between two messages.

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
        first = (row[0] if row else 0) * per
        end = first + messages
        for start in range(first, end, CHUNK):
            for statement in STATEMENTS:
                last = min(start + CHUNK, end)
                filled = statement.format(first=start, last=last, per=per, begin=begin, every=every)
                connection.execute(filled.encode())
            say(f"filling the log: {min(start + CHUNK, end):,} of {end:,}")
        connection.execute("VACUUM (ANALYZE) nexus_message, nexus_delivery, nexus_processed_message")
        connection.execute("VACUUM (ANALYZE) nexus_workflow, nexus_mailbox")
