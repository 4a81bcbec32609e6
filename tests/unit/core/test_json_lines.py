"""Log lines as JSON: they name workflow, message, agent, request and trace, and quote nobody's data."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any
from uuid import uuid4

import pytest

from messaging.core.context import HandlerContext
from messaging.core.envelope import build_envelope, parse_envelope
from messaging.core.ids import new_message_id, uuid7
from messaging.core.json_lines import JsonFormatter
from messaging.core.message_spans import processing
from messaging.core.request_ids import answering


def line(text: str, *arguments: object, **extra: Any) -> dict[str, Any]:
    record = logging.LogRecord("nexus.x", logging.WARNING, __file__, 1, text, arguments, extra.pop("exc_info", None))
    vars(record).update(extra)
    written = JsonFormatter().format(record)
    assert "\n" not in written
    found: dict[str, Any] = json.loads(written)
    return found


def test_outside_any_handler() -> None:
    found = line("Café\nforged %s", "\x00\u2028")
    assert found.keys() == {"time", "level", "logger", "text"}
    assert (found["level"], found["logger"]) == ("WARNING", "nexus.x")


def test_within_a_handler_and_a_request() -> None:
    body = build_envelope(
        message_id=new_message_id(),
        workflow_id=uuid7(),
        source="web",
        recipient="critic",
        type="t",
        data={"secret": "s3cret"},
        sequence=1,
        max_bytes=10_000,
    )
    context = HandlerContext(
        message=parse_envelope(body, max_bytes=10_000), agent="critic", delivery_id=uuid4(), attempt=2
    )
    with answering("r-1"), processing(context):
        found = line("Working.")
    assert found["workflow"] == str(context.workflow_id)
    assert found["message"] == str(context.message.message_id)
    assert (found["agent"], found["attempt"], found["request"]) == ("critic", 2, "r-1")
    assert "workflow" not in line("Afterwards.")


def test_an_error_is_its_class_and_its_places() -> None:
    try:
        raise ValueError("s3cret")
    except ValueError:
        found = line("It failed.", exc_info=sys.exc_info())
    assert found["error"] == "ValueError"
    assert found["places"][-1].endswith("test_an_error_is_its_class_and_its_places")
    assert "s3cret" not in json.dumps(found)


def test_what_nexus_says_of_an_outcome() -> None:
    found = line("with %s", "s3cret", nexus={"summary": "#1 t: dead", "outcome": "dead", "reason": None})
    assert (found["text"], found["outcome"]) == ("#1 t: dead", "dead")
    assert "reason" not in found


@pytest.mark.parametrize("value", [object(), {1: object()}, float("nan")])
def test_any_extra_value_is_written(value: object) -> None:
    line("x", nexus={"outcome": value})
