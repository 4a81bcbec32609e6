"""Writing envelopes: what comes out, and what is refused instead of being bent into JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from messaging.core.envelope import CONTENT_TYPE, build_envelope, parse_envelope
from messaging.core.errors import EnvelopeError, EnvelopeTooLarge
from tests.unit.core.samples import MAX_BYTES, MESSAGE, WORKFLOW, brief, built


class Colour(StrEnum):
    RED = "red"


def refusal(data: Any = None, **changes: Any) -> EnvelopeError:
    with pytest.raises(EnvelopeError) as caught:
        built(data, **changes)
    return caught.value


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def test_official_reader_understands_what_we_write() -> None:
    body = built(
        {"text": "hello"},
        causation_id=MESSAGE,
        correlation_id=WORKFLOW,
        data_schema="https://example.org/schemas/draft/1",
        trace_parent="00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01",
        expiry_time=datetime(2026, 2, 1, tzinfo=UTC),
    )
    form = JSONFormat()
    event = form.read(CloudEvent, body)
    assert form.get_content_type() == CONTENT_TYPE
    assert event.get_attributes() == {
        "specversion": "1.0",
        "id": str(MESSAGE),
        "source": "planner",
        "type": "draft.wanted",
        "subject": "writer",
        "time": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "datacontenttype": "application/json",
        "dataschema": "https://example.org/schemas/draft/1",
        "sequence": "00000000000000000007",
        "partitionkey": str(WORKFLOW),
        "position": 3,
        "causationid": str(MESSAGE),
        "correlationid": str(WORKFLOW),
        "schemaversion": "1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01",
        "expirytime": "2026-02-01T00:00:00Z",
    }
    assert event.get_data() == {"text": "hello"}


def test_we_understand_what_the_official_writer_writes() -> None:
    body = built({"text": "hello"})
    form = JSONFormat()
    rewritten = form.write(form.read(CloudEvent, body))
    assert parse_envelope(rewritten, max_bytes=MAX_BYTES) == parse_envelope(body, max_bytes=MAX_BYTES)


def test_optional_attributes_are_left_out() -> None:
    assert set(json.loads(built(position=None))) == {
        "specversion", "id", "source", "type", "subject", "time", "datacontenttype",
        "sequence", "partitionkey", "schemaversion", "data",
    }  # fmt: skip


def test_sequences_sort_as_strings() -> None:
    numbers = [1, 2, 9, 10, 99, 100, 2**31, 2**63 - 1]
    written = [json.loads(built(sequence=number))["sequence"] for number in numbers]
    assert written == sorted(written)


def test_time_is_now_when_left_out_and_always_in_utc() -> None:
    before = datetime.now(UTC)
    envelope = parse_envelope(built(time=None), max_bytes=MAX_BYTES)
    assert before <= envelope.time <= datetime.now(UTC)
    elsewhere = datetime(2026, 1, 31, 14, tzinfo=timezone(timedelta(hours=2)))
    assert json.loads(built(time=elsewhere))["time"] == "2026-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("data", "path"),
    [
        (float("nan"), "data"),
        ({"items": [0, 1, 2, {"score": float("inf")}]}, "data.items[3].score"),
        ([float("-inf")], "data[0]"),
        ({"raw": b"bytes"}, "data.raw"),
        ({"price": Decimal("NaN")}, "data.price"),
        ({"tags": {"a"}}, "data.tags"),
        ({"pair": (1, {2})}, "data.pair[1]"),
        ({"thing": object()}, "data.thing"),
        ({"a": {1: "x"}}, "data.a"),
        ({"a": {None: "x"}}, "data.a"),
        ({"a": {1: "x", "1": "y"}}, "data.a"),
        ({"a b": {"c": "\ud800"}}, "data['a b'].c"),
        ({"\udfff": 1}, "data['\\udfff']"),
        ({"big": 10**4300}, "data.big"),
        ({"big": -(10**9000)}, "data.big"),
        (circle(), "data" + "[0]" * 63),
        (nested(64), "data" + "[0]" * 63),
        (nested(5000), "data" + "[0]" * 63),
    ],
    ids=brief,
)
def test_what_json_cannot_carry_is_refused_at_its_place(data: Any, path: str) -> None:
    assert refusal(data).attribute == path


@pytest.mark.parametrize(
    "data",
    [None, True, 0, -0.0, 1e300, 10**4299, "", "\x00", "\U0010ffff", [], {}, {"": {"": []}}, nested(63), [[]] * 1000,
     {"colour": Colour.RED}, "<script>", {"constructor": {"__proto__": 1}}],
    ids=brief,
)  # fmt: skip
def test_what_json_can_carry_arrives_the_same(data: Any) -> None:
    assert repr(parse_envelope(built(data), max_bytes=MAX_BYTES).data) == repr(json.loads(json.dumps(data)))


@pytest.mark.parametrize(
    ("argument", "value", "attribute"),
    [
        ("message_id", str(MESSAGE), "id"),
        ("message_id", None, "id"),
        ("workflow_id", "w", "partitionkey"),
        ("source", "Planner", "source"),
        ("source", "plan\x00ner", "source"),
        ("source", "\ud800", "source"),
        ("source", None, "source"),
        ("source", 5, "source"),
        ("recipient", "", "subject"),
        ("type", "a b", "type"),
        ("sequence", 0, "sequence"),
        ("sequence", 2**63, "sequence"),
        ("sequence", True, "sequence"),
        ("sequence", "7", "sequence"),
        ("position", 0, "position"),
        ("position", 2**31, "position"),
        ("position", 3.0, "position"),
        ("time", datetime(2026, 1, 31), "time"),
        ("time", datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), "time"),
        ("time", "2026-01-31T12:00:00Z", "time"),
        ("expiry_time", datetime(2026, 1, 31), "expirytime"),
        ("causation_id", "x", "causationid"),
        ("correlation_id", 5, "correlationid"),
        ("data_schema", "no uri", "dataschema"),
        ("data_schema", "urn:x\x00", "dataschema"),
        ("trace_parent", "00-xyz", "traceparent"),
    ],
    ids=brief,
)
def test_wrong_argument_is_refused_and_named(argument: str, value: Any, attribute: str) -> None:
    assert refusal(**{argument: value}).attribute == attribute


def test_size_is_limited() -> None:
    body = built("x" * 1000)
    assert built("x" * 1000, max_bytes=len(body)) == body
    with pytest.raises(EnvelopeTooLarge):
        built("x" * 1000, max_bytes=len(body) - 1)


def test_every_argument_is_by_keyword() -> None:
    with pytest.raises(TypeError):
        build_envelope(MESSAGE, WORKFLOW)  # type: ignore[call-arg]
