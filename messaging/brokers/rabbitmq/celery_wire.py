"""Celery's own receiving: a message that cannot be decoded must not end the worker that gets it.

py-amqp decodes properties while it reads frames. What it raises there ends the worker's main process, and the broker
hands the same message to the next one. Here such a message arrives without properties, but with the reason and the raw
bytes as headers, and Celery drops it with a log line as it does every message that is no task.
"""

from __future__ import annotations

from typing import Any

from amqp.basic_message import Message

from messaging.brokers.rabbitmq.frames import unreadable_headers

_load = Message._load_properties


def contain_unreadable_messages() -> None:
    """Let whatever a decoder raises belong to one message, in everything that uses py-amqp in this process."""

    def load(self: Any, class_id: int, payload: bytes, offset: int) -> int:
        try:
            end: int = _load(self, class_id, payload, offset)
        except Exception as error:  # noqa: BLE001 - py-amqp raises many types
            self.properties = {"application_headers": unreadable_headers(payload[offset:], error)}
            return len(payload)
        return end

    Message._load_properties = load
