"""Envelopes for the tests of the core."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from messaging.core.envelope import build_envelope
from messaging.core.strict_json import describe

MESSAGE = UUID("01a20979-79aa-734d-91e4-96982d670000")
WORKFLOW = UUID("01a20979-0000-7000-8000-000000000000")
MAX_BYTES = 1_000_000


def built(data: Any = None, **changes: Any) -> bytes:
    """Build an envelope with usual values, but for the changes."""
    values: dict[str, Any] = {
        "message_id": MESSAGE,
        "workflow_id": WORKFLOW,
        "source": "planner",
        "recipient": "writer",
        "type": "draft.wanted",
        "data": data,
        "sequence": 7,
        "position": 3,
        "time": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "max_bytes": MAX_BYTES,
    }
    return build_envelope(**(values | changes))


def attributes(**changes: Any) -> dict[str, Any]:
    """Return a valid envelope's attributes and data, but for the changes."""
    usual: dict[str, Any] = json.loads(built({"text": "hello"}))
    return usual | changes


def around(data: bytes) -> bytes:
    """Return a valid envelope with these bytes for its data."""
    return built().removesuffix(b"null}") + data + b"}"


def brief(value: Any) -> str:
    """Name a parameter of a test in a few characters, whatever its size."""
    return repr(value[:30]) if isinstance(value, bytes | str) else describe(value)[:40]
