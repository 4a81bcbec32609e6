"""What stands in the other tables when there are so many messages: dead letters, what waits, what people did."""

from __future__ import annotations

import psycopg

from bench.progress import say

# Uses the function bench_id and the rows of bench.workloads.filling. {few}: one of 100 messages.
STATEMENTS = (
    """INSERT INTO nexus_agent (name, kind, description, registered_at)
       SELECT name, 'transactional', '', now() FROM unnest(ARRAY['ping', 'pong']) AS name""",
    # Of each 1,000 messages one is on its way, one is held and one is dead.
    """UPDATE nexus_delivery d SET settled_at = NULL, available_at = now() + interval '1 hour',
              state = CASE n % 4 WHEN 0 THEN 'sent' WHEN 1 THEN 'pending' ELSE 'held' END
       FROM generate_series(0, {few} / 5 - 1) AS n WHERE d.id = bench_id(2, n * 500 + 7, 1)""",
    """UPDATE nexus_workflow w SET status = CASE n % 3 WHEN 0 THEN 'parked' WHEN 1 THEN 'paused' ELSE 'completed' END,
              status_reason = 'ping could not handle message #7', ended_at = CASE n % 3 WHEN 2 THEN now() END
       FROM generate_series(0, {few} / 100 - 1) AS n WHERE w.id = bench_id(1, n * 100 + 3, 0)""",
    """INSERT INTO nexus_dead_letter (delivery_id, workflow_id, agent, message_type, reason, error, place, detail, body,
                                      headers, fingerprint, copies, status, created_at, resolved_by, resolution)
       SELECT bench_id(2, n * 100 + 9, 1), bench_id(1, n, 0), CASE n % 2 WHEN 0 THEN 'ping' ELSE 'pong' END, 'race.leg',
              CASE n % 9 WHEN 0 THEN 'not_authentic' WHEN 1 THEN 'attempts_used_up' ELSE 'handler_error' END,
              'Error' || n % 30, 'handlers.py:' || n % 60, repeat('  File "handlers.py", line 7' || chr(10), 30),
              convert_to(repeat(md5(n::text), 18), 'UTF8'), '{{}}', '', 1,
              CASE n % 10 WHEN 0 THEN 'open' WHEN 1 THEN 'discarded' ELSE 'replayed' END,
              now() - n * interval '20 seconds', '', ''
       FROM generate_series(0, {few} - 1) AS n""",
    """INSERT INTO nexus_operator_act (at, who, entrance, action, kind, key, reason, before, after)
       SELECT now() - n * interval '20 seconds', 'user' || n % 20, 'admin', 'replay', 'deadletter', n::text, 'because',
              '{{"status": "open"}}', '{{"status": "replayed"}}' FROM generate_series(0, {few} - 1) AS n""",
    """INSERT INTO nexus_minute_figures (minute, messages, deliveries, handled, given_up, median_seconds,
                                     slowest_seconds)
       SELECT date_trunc('minute', now()) - n * interval '1 minute', 230, 230, 229, 1, 0.02, 0.4
       FROM generate_series(1, 30 * 1440) AS n""",
    """INSERT INTO nexus_chat_session (workflow_id, team, definition, state, status, reason, messages, created_at)
       SELECT bench_id(1, n, 0), 'team' || n % 20, '{{}}', '{{}}', CASE n % 20 WHEN 0 THEN 'running' ELSE 'ended' END,
              '',
              100, now() - n * interval '20 seconds' FROM generate_series(0, {few} - 1) AS n""",
    """INSERT INTO nexus_approval (id, workflow_id, key, reply_to, purpose, member, question, content, options, status,
                                   answer, answered_by, created_at)
       SELECT bench_id(3, n, 0), bench_id(1, n, 0), 'a', 'chat', 'approval', 'ping', 'May this go on?',
              repeat('text ', 50),
              '[]', CASE n % 50 WHEN 0 THEN 'waiting' ELSE 'approved' END, '', '', now() - n * interval '20 seconds'
       FROM generate_series(0, {few} - 1) AS n""",
    """INSERT INTO nexus_agent_state (agent, workflow_id, data, changed_at)
       SELECT 'ping', bench_id(1, n, 0), '{{}}', now() FROM generate_series(0, {few} - 1) AS n""",
)


def fill_the_rest(url: str, messages: int) -> None:
    """Add what belongs to a log of so many messages.

    Args:
        url: of the database that ``fill`` filled.
        messages: how many it got.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        for number, statement in enumerate(STATEMENTS, 1):
            connection.execute(statement.format(few=messages // 100).encode())
            say(f"filling the other tables: {number} of {len(STATEMENTS)}")
        connection.execute("VACUUM ANALYZE")
