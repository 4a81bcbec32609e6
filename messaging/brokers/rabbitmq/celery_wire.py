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
_MAX_ID = 255


def _check_task(headers: Any) -> None:
    """Celery looks a task up, and stores that it is unknown, without a look at what the two headers are."""
    if not isinstance(headers, dict) or "task" not in headers:
        return
    for name in ("task", "id"):
        value = headers.get(name)
        if not (isinstance(value, str) and value.isprintable() and len(value) <= _MAX_ID):
            raise ValueError(f"the header {name!r} is {value!r}")


def contain_unreadable_messages() -> None:
    """Let whatever a decoder raises belong to one message, in everything that uses py-amqp in this process."""

    def load(self: Any, class_id: int, payload: bytes, offset: int) -> int:
        try:
            end: int = _load(self, class_id, payload, offset)
            _check_task(self.properties.get("application_headers"))
        except Exception as error:  # noqa: BLE001 - py-amqp raises many types
            self.properties = {"application_headers": unreadable_headers(payload[offset:], error)}
            return len(payload)
        return end

    Message._load_properties = load
