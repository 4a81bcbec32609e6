"""The limit: what one can get from py-amqp, psycopg and a loop, writing the same rows, and doing nothing else.

No framework, no locks, no checks: what it knows about a conversation (mailboxes, positions) it is told by the message,
and one conversation never has two messages under way. 100 messages a batch, one transaction and one acknowledgement a
batch. What a batch sends is the next batch's, without the broker, as far as it has room; the rest is one burst of
publishes, and the confirms of a burst are awaited before the next one is written.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import amqp
import psycopg

from bench.apps.relay import agent_of, first_leg, handle_leg, send_race
from messaging.core.ids import delivery_id, new_message_id, uuid7

QUEUE = "limit"
BATCH = 100
PREFETCH = 200
KEEP = timedelta(days=7)

INSERT_PROCESSED = (
    "INSERT INTO nexus_processed_message (message_id, consumer, expires_at)"
    " SELECT * FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[]) ON CONFLICT DO NOTHING"
)
INSERT_MESSAGES = (
    "INSERT INTO nexus_message (id, workflow_id, sequence, type, source, subject, envelope, signature, created_at)"
    " SELECT *, '', %s FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::text[], %s::text[],"
    " %b::bytea[])"
)
INSERT_DELIVERIES = (
    "INSERT INTO nexus_delivery (id, message_id, workflow_id, mailbox_id, agent, position, queue, state, attempts,"
    " redeliveries, available_at, last_error) SELECT *, 'transactional', 'pending', 0, 0, %s, ''"
    " FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::bigint[], %s::text[], %s::bigint[])"
)
SETTLE = "UPDATE nexus_delivery SET state = 'processed', settled_at = %s WHERE id = ANY(%s::uuid[])"
SAVE_SEQUENCES = (
    "UPDATE nexus_workflow SET sequence = v.s FROM unnest(%s::uuid[], %s::bigint[]) AS v(id, s)"
    " WHERE nexus_workflow.id = v.id"
)
SAVE_SENT = (
    "UPDATE nexus_mailbox SET sent = v.n FROM unnest(%s::bigint[], %s::bigint[]) AS v(id, n)"
    " WHERE nexus_mailbox.id = v.id"
)
SAVE_PROCESSED = SAVE_SENT.replace("SET sent", "SET processed")
INSERT_WORKFLOWS = (
    "INSERT INTO nexus_workflow"
    " (id, name, status, status_reason, sequence, failure_policy, gap_policy, idle_policy, created_at)"
    " SELECT id, 'race', 'running', '', 0, 'park', 'park', 'park', now() FROM unnest(%s::uuid[]) AS v(id)"
)
INSERT_MAILBOXES = (
    "INSERT INTO nexus_mailbox (workflow_id, agent, sent, processed)"
    " SELECT id, agent, 0, 0 FROM unnest(%s::uuid[]) AS v(id), unnest(ARRAY['ping', 'pong']) AS a(agent)"
    " RETURNING workflow_id, agent, id"
)


def _uuids(values: list[UUID]) -> str:
    return "{" + ",".join([value.hex for value in values]) + "}"


def _numbers(values: list[int]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _position(leg: int) -> int:
    """Of a leg in its mailbox: each agent gets every second one."""
    return (leg + 1) // 2


class Rows:
    """The new messages of a batch, a list for each column."""

    def __init__(self) -> None:
        self.ids: list[UUID] = []
        self.workflows: list[UUID] = []
        self.mailboxes: list[int] = []
        self.legs: list[int] = []
        self.bodies: list[bytes] = []

    def add(self, body: dict[str, Any]) -> None:
        """Number and serialise a message."""
        identifier, leg = new_message_id(), body["data"]["leg"]
        encoded = {
            **body,
            "specversion": "1.0",
            "id": str(identifier),
            "source": agent_of(leg + 1),
            "type": "race.leg",
            "subject": agent_of(leg),
            "time": datetime.now(UTC).isoformat(),
            "sequence": leg,
            "position": _position(leg),
        }
        self.ids.append(identifier)
        self.workflows.append(UUID(body["partitionkey"]))
        self.mailboxes.append(body["mailboxes"][leg % 2])
        self.legs.append(leg)
        self.bodies.append(json.dumps(encoded, separators=(",", ":")).encode())

    def write(self, connection: psycopg.Connection[Any], now: datetime) -> None:
        """Write the rows and counters."""
        agents = [agent_of(leg) for leg in self.legs]
        ids, workflows, mailboxes = _uuids(self.ids), _uuids(self.workflows), _numbers(self.mailboxes)
        legs, positions = _numbers(self.legs), _numbers([_position(leg) for leg in self.legs])
        senders = [agent_of(leg + 1) for leg in self.legs]
        types = ["race.leg"] * len(agents)
        run(connection, INSERT_MESSAGES, [now, ids, workflows, legs, types, senders, agents, self.bodies])
        deliveries = _uuids([delivery_id(identifier, 1) for identifier in self.ids])
        run(connection, INSERT_DELIVERIES, [now, deliveries, ids, workflows, mailboxes, agents, positions])
        run(connection, SAVE_SEQUENCES, [workflows, legs])
        run(connection, SAVE_SENT, [mailboxes, positions])


def run(connection: psycopg.Connection[Any], statement: str, parameters: list[Any]) -> None:
    """Run a statement; one that inserts is prepared. What finds rows by lists of keys is not: its plan, made while the
    tables are small, would go on reading them from end to end.
    """
    connection.execute(statement.encode(), parameters, prepare=statement.startswith("INSERT"))


class LimitLink:
    """A connection to RabbitMQ with pipelined confirms."""

    def __init__(self) -> None:
        host, port = os.environ["BROKER_URL"].removeprefix("amqp://guest:guest@").split("/")[0].split(":")
        virtual_host = os.environ["BROKER_URL"].rsplit("/", 1)[1]
        self.connection = amqp.Connection(f"{host}:{port}", virtual_host=virtual_host)
        self.connection.connect()
        self.channel = self.connection.channel()
        self.channel.queue_declare(QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        self.channel.confirm_select()
        self.channel.events["basic_ack"].add(self._confirmed)
        self._published = self._known = 0

    def _confirmed(self, tag: int, multiple: bool) -> None:
        self._known = max(self._known, tag) if multiple else self._known + 1

    def publish(self, bodies: list[bytes]) -> None:
        """Write a burst, after the confirms of the one before."""
        while self._known < self._published:
            self.connection.drain_events(timeout=10)
        for body in bodies:
            self.channel.basic_publish(amqp.Message(body, delivery_mode=2), "", QUEUE)
        self._published += len(bodies)


def consume() -> None:
    """Handle messages until SIGTERM."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    connection = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
    link = LimitLink()
    received: list[Any] = []
    kept: list[bytes] = []
    link.channel.basic_qos(0, PREFETCH, False)
    link.channel.basic_consume(QUEUE, callback=received.append)
    while not stopping:
        try:
            link.connection.drain_events(timeout=0.5 if not (received or kept) else 0.0005)
        except TimeoutError:
            if not (received or kept):
                continue
        else:
            if len(received) + len(kept) < BATCH:
                continue
        batch = received[: BATCH - len(kept)]
        del received[: len(batch)]
        sent = _handle(connection, [*kept, *[message.body for message in batch]])
        kept = sent[:BATCH]
        link.publish(sent[BATCH:])
        if batch:
            link.channel.basic_ack(batch[-1].delivery_tag, multiple=True)


def _handle(connection: psycopg.Connection[Any], batch: list[bytes]) -> list[bytes]:
    """Handle a batch in one transaction; return what it sends."""
    outgoing = Rows()
    now = datetime.now(UTC)
    bodies = [json.loads(message) for message in batch]
    ids = [UUID(body["id"]) for body in bodies]
    legs = [body["data"]["leg"] for body in bodies]
    with connection.transaction():
        expires = "{" + ",".join([f'"{now + KEEP}"'] * len(ids)) + "}"
        run(connection, INSERT_PROCESSED, [_uuids(ids), [agent_of(leg) for leg in legs], expires])
        for body in bodies:
            following = handle_leg(body["data"])
            if following is not None:
                outgoing.add({**body, "data": following})
        if outgoing.ids:
            outgoing.write(connection, now)
        mailboxes = [body["mailboxes"][leg % 2] for body, leg in zip(bodies, legs, strict=True)]
        run(connection, SAVE_PROCESSED, [_numbers(mailboxes), _numbers([_position(leg) for leg in legs])])
        run(connection, SETTLE, [now, _uuids([delivery_id(identifier, 1) for identifier in ids])])
    return outgoing.bodies


def send(first: int, conversations: int, legs: int) -> None:
    """Store and publish the first messages, as a consumer does."""
    rows = Rows()
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        workflows = [uuid7() for _ in range(conversations)]
        run(connection, INSERT_WORKFLOWS, [_uuids(workflows)])
        mailboxes: dict[UUID, list[int]] = {workflow: [0, 0] for workflow in workflows}
        for workflow, agent, mailbox in connection.execute(
            INSERT_MAILBOXES.encode(), [_uuids(workflows)], prepare=True
        ).fetchall():
            mailboxes[workflow][agent == "ping"] = mailbox
        for number, workflow in enumerate(workflows, first):
            data = first_leg(number, legs)
            rows.add({"partitionkey": str(workflow), "mailboxes": mailboxes[workflow], "data": data})
        rows.write(connection, datetime.now(UTC))
    link = LimitLink()
    link.publish(rows.bodies)
    link.publish([])


if __name__ == "__main__":
    if sys.argv[1:] == ["consume"]:
        consume()
    else:
        send_race(send)
