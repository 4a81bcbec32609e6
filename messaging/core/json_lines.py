"""Log lines as JSON, for machines: what happened, to which message of which workflow, in which trace and request.

They hold no message's data. An error stands there by its class and its places in the code: its words may quote data.
"""

from __future__ import annotations

import logging
import traceback
from datetime import UTC, datetime
from typing import Any

import msgspec

from messaging.core import tracing
from messaging.core.describing import storable
from messaging.core.message_spans import handled_here
from messaging.core.request_ids import request_id_of

MAX_MESSAGE = 8_192
MAX_FRAMES = 30


class JsonFormatter(logging.Formatter):
    """One JSON object a line. Keys without a value are left out."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's line."""
        own = getattr(record, "nexus", None)
        own = own if isinstance(own, dict) else {}
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "text": storable(str(own.get("summary") or record.getMessage()))[:MAX_MESSAGE],
            **_handled(),
            **{key: value for key, value in own.items() if key != "summary"},
            "request": request_id_of(record) or None,
        }
        traced = tracing.current()
        if traced is not None:
            line["trace"], line["span"] = traced[3:35], traced[36:52]
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2], limit=-MAX_FRAMES)
            line["error"] = record.exc_info[0].__qualname__
            line["places"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        kept = {key: value for key, value in line.items() if value is not None}
        return msgspec.json.encode(kept, enc_hook=str).decode()


def _handled() -> dict[str, str | int]:
    context = handled_here()
    if context is None:
        return {}
    return {
        "workflow": str(context.workflow_id),
        "message": str(context.message.message_id),
        "agent": context.agent,
        "attempt": context.attempt,
    }
