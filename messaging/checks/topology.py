"""Checks of what Nexus declares on the broker."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error

from messaging.brokers import QueueSpec, Topology
from messaging.checks.settings import readable_settings
from messaging.core.errors import ConfigurationError
from messaging.transport.current import get_broker


def _problem(queue: QueueSpec, topology: Topology) -> str:
    """What is wrong with a queue that agents' messages are published to."""
    arguments = queue.arguments()
    exchange = arguments.get("x-dead-letter-exchange")
    if not exchange:
        return "has no dead-letter exchange: what a worker rejects would be gone"
    if arguments.get("x-dead-letter-strategy") != "at-least-once":
        return "dead-letters at most once: a dead letter can be lost on its way"
    if exchange not in {declared.name for declared in topology.exchanges}:
        return f"dead-letters to the exchange {exchange!r}, which nobody declares"
    if not any(binding.exchange == exchange for binding in topology.bindings):
        return f"dead-letters to the exchange {exchange!r}, to which no queue is bound"
    return ""


def check_dead_lettering(**_: Any) -> list[CheckMessage]:
    """E004: whatever a worker rejects lands in a queue."""
    if readable_settings() is None:
        return []
    try:
        topology = get_broker().topology
    except ConfigurationError:
        return []  # nexus.E001 says so
    targets = {queue.dead_letter_exchange for queue in topology.queues}
    dead_letter_queues = {binding.queue for binding in topology.bindings if binding.exchange in targets}
    return [
        Error(
            f"Queue {queue.name!r} {problem}.",
            hint="Give its QueueSpec in messaging/brokers/topology.py a dead_letter_exchange with a queue.",
            id="nexus.E004",
        )
        for queue in topology.queues
        if queue.name not in dead_letter_queues and (problem := _problem(queue, topology))
    ]
