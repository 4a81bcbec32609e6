"""Duplicates: deliveries of the log published again, old and new ones, in any order."""

from __future__ import annotations

import socket
from random import Random
from uuid import UUID

import amqp
import psycopg

from bench.soak.faults.registry import fault
from bench.soak.site import DATABASE, Site
from messaging.brokers.topology import LEASED_QUEUE, MAIN_EXCHANGE, TRANSACTIONAL_QUEUE

_COPIES = 300
_QUEUES = {"transactional": TRANSACTIONAL_QUEUE, "leased": LEASED_QUEUE}


@fault("duplicates out of order")
def republish(site: Site, random: Random) -> int:
    """Publish copies of the latest deliveries, whatever their state, in random order and some of them twice.

    Returns:
        How many copies the broker confirmed.
    """
    with psycopg.connect(site.postgres.url(DATABASE), connect_timeout=5) as database:
        rows: list[tuple[UUID, UUID, str, bytes, str]] = database.execute(
            "SELECT d.id, d.workflow_id, d.queue, m.envelope, m.signature FROM nexus_delivery d"
            " JOIN nexus_message m ON m.id = d.message_id WHERE d.queue IN ('transactional', 'leased')"
            f" ORDER BY d.id DESC LIMIT {_COPIES}"
        ).fetchall()
    copies = rows + random.sample(rows, len(rows) // 3)
    random.shuffle(copies)
    url = f"127.0.0.1:{random.choice(site.brokers).port}"
    options = {"connect_timeout": 5, "read_timeout": 10, "socket_settings": {socket.TCP_USER_TIMEOUT: 20_000}}
    with amqp.Connection(url, confirm_publish=True, **options) as connection:
        channel = connection.channel()
        for delivery, workflow, queue, envelope, signature in copies:
            headers = {
                "lang": "py",
                "task": "messaging.deliver",
                "id": str(delivery),
                "root_id": str(delivery),
                "workflow": str(workflow),
                "signature": signature,
                "redelivery": 0,
            }
            message = amqp.Message(
                envelope,
                content_type="application/cloudevents+json",
                content_encoding="utf-8",
                delivery_mode=2,
                correlation_id=str(delivery),
                application_headers=headers,
            )
            channel.basic_publish(message, MAIN_EXCHANGE, _QUEUES[queue], timeout=10)
    return len(copies)
