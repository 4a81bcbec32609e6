"""No statement of the hot path reads the log from end to end: on PostgreSQL, with a long log, as EXPLAIN tells.

The statements are those that the code runs: they are recorded while it sends, handles, relays and repairs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection

from messaging.api import Envelope, HandlerContext, Outgoing
from messaging.log import closing, committing, rows
from tests.support.lab import Lab

MESSAGES = int(os.environ.get("PLANS_MESSAGES", "200000"))
LONG = frozenset(
    {
        "nexus_message",
        "nexus_delivery",
        "nexus_processed_message",
        "nexus_mailbox",
        "nexus_workflow",
        "nexus_agent_state",
        "nexus_once_result",
    }
)

FILL = """
INSERT INTO nexus_workflow (id, name, status, status_reason, sequence, failure_policy, gap_policy, idle_policy,
    created_at)
SELECT md5('w' || n)::uuid, 'old', 'running', '', 10, 'park', 'park', 'park', now()
FROM generate_series(1, {workflows}) n;
INSERT INTO nexus_mailbox (workflow_id, agent, sent, processed)
SELECT md5('w' || n)::uuid, 'old', 10, 10 FROM generate_series(1, {workflows}) n;
CREATE TEMP TABLE filling AS SELECT n, md5('m' || n)::uuid AS message,
    md5('w' || 1 + (n - 1) / 10)::uuid AS workflow,
    1 + (n - 1) % 10 AS number FROM generate_series(1, {messages}) n;
INSERT INTO nexus_message (id, workflow_id, sequence, type, source, subject, envelope, signature, created_at)
SELECT message, workflow, number, 'old', 'old', 'old', '\\x00', '', now() FROM filling;
INSERT INTO nexus_delivery (id, message_id, workflow_id, mailbox_id, agent, position, queue, state, attempts,
    redeliveries, available_at, settled_at, last_error)
SELECT md5('d' || n)::uuid, message, f.workflow, m.id, 'old', number, 'transactional', 'processed', 0, 0, now(),
    now(), ''
FROM filling f JOIN nexus_mailbox m ON m.workflow_id = f.workflow;
INSERT INTO nexus_processed_message (message_id, consumer, expires_at)
SELECT message, 'old', now() + interval '7 days' FROM filling;
INSERT INTO nexus_agent_state (workflow_id, agent, data, changed_at)
SELECT id, 'old', '{{}}', now() FROM nexus_workflow;
INSERT INTO nexus_once_result (delivery_id, key, result, created_at)
SELECT md5('d' || n)::uuid, 'old', '1', now() FROM filling;
DROP TABLE filling;
"""


@pytest.fixture
def long_log(lab: Lab, database_vendor: str) -> Lab:
    if database_vendor != "postgres":
        pytest.skip("plans are PostgreSQL's")
    with connection.cursor() as cursor:
        cursor.execute(FILL.format(messages=MESSAGES, workflows=MESSAGES // 10))
        cursor.execute("ANALYZE")
    return lab


class Recorder:
    """Every statement that runs, with its parameters, once for each text."""

    def __init__(self) -> None:
        self.statements: dict[str, Any] = {}

    def note(self, statement: str, parameters: Any) -> None:
        text = statement.strip()
        if text.split(" ", 1)[0].upper() in {"SELECT", "INSERT", "UPDATE", "DELETE"}:
            shape = re.sub(r"'{[^']*}'", "…", re.sub(r"%s(, %s)+", "%s, …", text))
            self.statements.setdefault(shape, (text, parameters))

    @contextmanager
    def recording(self) -> Iterator[None]:
        original, original_each = rows._run, rows.fetch_each

        def run(statement: str, parameters: Any, **options: bool) -> tuple[int, list[tuple[Any, ...]]]:
            listed = list(parameters)
            self.note(statement, listed)
            return original(statement, listed, **options)

        def fetch_each(*statements: str) -> list[list[tuple[Any, ...]]]:
            for statement in statements:
                self.note(statement, [])
            return original_each(*statements)

        def run_and_commit(statement: rows.Fragment) -> None:
            self.note(statement.sql, statement.parameters)
            committing.run_and_commit(statement)

        def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            if not many:
                self.note(sql, params)
            return execute(sql, params, many, context)

        with (
            patch.object(rows, "_run", run),
            patch.object(rows, "fetch_each", fetch_each),
            patch.object(closing, "run_and_commit", run_and_commit),
            connection.execute_wrapper(wrapper),
        ):
            yield


def scans(statement: str, parameters: Sequence[Any]) -> list[str]:
    """The long tables that a statement would read from end to end."""
    native = statement.replace("%b::bytea[]", "%s::bytea[]")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan") if connection.in_atomic_block else None
        cursor.execute(f"EXPLAIN (FORMAT JSON) {native}", parameters)
        answer = cursor.fetchone()
    assert answer is not None
    plan = json.loads(answer[0]) if isinstance(answer[0], str) else answer[0]
    found: list[str] = []
    waiting = [plan[0]["Plan"]]
    while waiting:
        node = waiting.pop()
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in LONG:
            found.append(node["Relation Name"])
        waiting += node.get("Plans", [])
    return found


def everything_that_happens(lab: Lab) -> None:
    """Sending, handling, failing, holding, leasing, relaying, repairing and replaying."""

    def quick(message: Envelope, context: HandlerContext) -> None:
        context.state["seen"] = message.data
        if message.data == "fail" and context.attempt == 1:
            raise ValueError("once")
        if message.data == "answer":
            context.send("slow", "test.message", deduplication_id="k")

    lab.agent("quick", quick)

    def slow(message: Envelope, context: HandlerContext) -> None:
        context.state["result"] = context.once("call", lambda: 1)

    lab.agent("slow", slow, leased=True)
    lab.bus.create_group("team", ["quick", "slow"])
    workflows = [lab.workflow() for _ in range(20)]
    for workflow in workflows:
        lab.bus.send_many(
            [
                Outgoing(workflow_id=workflow, source="web", recipient=to, type="test.message", data=data)
                for to, data in (("quick", "answer"), ("quick", None), ("team", "fail"), ("slow", None))
            ]
        )
    copies = lab.take_offered()
    lab.put(copies[::-2])
    lab.work(3)
    lab.put(copies)
    lab.restart_consumer()
    lab.work(3)
    lab.lose_queues()
    lab.settle()
    lab.bus.pause_workflow(workflows[0])
    lab.send(workflows[0], "quick")
    lab.bus.resume_workflow(workflows[0])
    lab.bus.complete_workflow(workflows[1])
    lab.relay_turn(after=40)
    lab.settle()


@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_no_statement_of_the_hot_path_scans_the_log(long_log: Lab) -> None:
    recorder = Recorder()
    with recorder.recording():
        everything_that_happens(long_log)
    assert len(recorder.statements) > 25
    bad = {text: found for text, parameters in recorder.statements.values() if (found := scans(text, parameters or ()))}
    assert not bad, "\n\n".join(f"{found}: {text}" for text, found in bad.items())
