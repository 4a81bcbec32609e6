"""Reading envelopes: what is taken, what is refused, and what the error says."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from messaging.core.envelope import Envelope, _parse_any_writing, _parse_own_writing, parse_envelope
from messaging.core.envelope_rules import RULES
from messaging.core.errors import EnvelopeError, EnvelopeTooLarge
from tests.unit.core.samples import MAX_BYTES, MESSAGE, WORKFLOW, around, attributes, brief, built


def parsed(body: bytes, **options: Any) -> Envelope:
    return parse_envelope(body, **({"max_bytes": MAX_BYTES} | options))


def refusal(body: bytes, **options: Any) -> EnvelopeError:
    with pytest.raises(EnvelopeError) as caught:
        parsed(body, **options)
    return caught.value


def test_attributes_are_read() -> None:
    cause, exchange = UUID(int=MESSAGE.int + 0x10000), UUID(int=5)
    expiry = datetime(2026, 2, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    body = built(
        {"text": "hello"},
        causation_id=cause,
        correlation_id=exchange,
        data_schema="https://example.org/schemas/draft/1",
        trace_parent="00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01",
        expiry_time=expiry,
    )
    assert parsed(body) == Envelope(
        specversion="1.0",
        id=MESSAGE,
        source="planner",
        type="draft.wanted",
        subject="writer",
        time=datetime(2026, 1, 31, 12, tzinfo=UTC),
        datacontenttype="application/json",
        dataschema="https://example.org/schemas/draft/1",
        sequence="00000000000000000007",
        partitionkey=WORKFLOW,
        position=3,
        causationid=cause,
        correlationid=exchange,
        schemaversion="1",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01",
        expirytime=datetime(2026, 1, 31, 23, 30, tzinfo=UTC),
        data={"text": "hello"},
    )


def test_properties_use_the_words_of_the_project() -> None:
    envelope = parsed(built())
    assert (envelope.message_id, envelope.workflow_id, envelope.sequence_number) == (MESSAGE, WORKFLOW, 7)


@pytest.mark.parametrize(
    "spelling",
    [
        lambda made: json.dumps(made, indent=2),
        lambda made: json.dumps(dict(reversed(made.items()))),
        lambda made: json.dumps(made | {"id": made["id"].upper()}),
        lambda made: json.dumps(made | {"position": 3, "dataschema": None, "expirytime": None}),
        lambda made: json.dumps(made | {"time": "2026-01-31t14:00:00.000000000+02:00"}),
        lambda made: json.dumps(made).replace("hello", "\\u0068ello"),
        lambda made: f"\r\n\t {json.dumps(made)} \n",
    ],
)
def test_other_spellings_mean_the_same(spelling: Any) -> None:
    assert parsed(spelling(attributes()).encode()) == parsed(built({"text": "hello"}))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("specversion", "0.3"),
        ("specversion", 1.0),
        ("id", "1"),
        ("id", MESSAGE.hex),
        ("id", "{" + str(MESSAGE) + "}"),
        ("id", f"{MESSAGE}\n"),
        ("id", 5),
        ("source", ""),
        ("source", "Planner"),
        ("source", "planner\n"),
        ("source", "plan\x00ner"),
        ("source", "a" * 101),
        ("source", "https://example.org/"),
        ("source", ["planner"]),
        ("type", ""),
        ("type", "/draft"),
        ("type", "a" * 201),
        ("type", "dräft"),
        ("type", "draft\x00"),
        ("subject", "-writer"),
        ("subject", "wr iter"),
        ("subject", "writer٣"),
        ("time", "2026-01-31"),
        ("time", "2026-01-31T12:00:00"),
        ("time", "2026-02-30T12:00:00Z"),
        ("time", "2026-01-31T12:00:60Z"),
        ("time", "2026-01-31 12:00:00Z"),
        ("time", "0001-01-01T00:00:00+23:59"),
        ("time", "9999-12-31T23:59:59-23:59"),
        ("time", "2026-01-31T12:00:00+99:99"),
        ("time", "٢٠٢٦-01-31T12:00:00Z"),
        ("time", 1_769_860_800),
        ("datacontenttype", "text/plain"),
        ("dataschema", ""),
        ("dataschema", "schemas/1"),
        ("dataschema", "https://example.org/#part"),
        ("dataschema", "https://example.org/a b"),
        ("dataschema", "urn:x:" + "y" * 3000),
        ("dataschema", "urn:x\x00"),
        ("sequence", "7"),
        ("sequence", 7),
        ("sequence", "0" * 20),
        ("sequence", "9" * 20),
        ("sequence", "0000000000000000000٣"),
        ("sequence", "-0000000000000000007"),
        ("sequence", "00000000000000000007\n"),
        ("partitionkey", "workflow"),
        ("position", 0),
        ("position", -1),
        ("position", 2**31),
        ("position", 10**400),
        ("position", 3.0),
        ("position", True),
        ("position", "3"),
        ("position", {}),
        ("causationid", ""),
        ("correlationid", "order-123"),
        ("schemaversion", "2"),
        ("schemaversion", 1),
        ("traceparent", ""),
        ("traceparent", "00-" + "0" * 32 + "-b9c7c989f97918e1-01"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01"),
        ("traceparent", "ff-0af7651916cd43dd8448eb211c80319c-b9c7c989f97918e1-01"),
        ("traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b9c7c989f97918e1-01"),
        ("expirytime", "tomorrow"),
    ],
    ids=brief,
)
def test_wrong_value_is_refused_and_named(attribute: str, value: Any) -> None:
    compact = json.dumps(attributes(**{attribute: value}), separators=(",", ":"), ensure_ascii=False).encode()
    error = refusal(compact)
    assert error.attribute == attribute
    assert error.problem.startswith(f"expected {RULES[attribute].expected}, got ")


@pytest.mark.parametrize("nothing", ["absent", "null"])
@pytest.mark.parametrize("attribute", [name for name, rule in RULES.items() if rule.required] + ["sequence"])
def test_missing_attribute_is_refused_and_named(attribute: str, nothing: str) -> None:
    made = attributes(**{attribute: None})
    if nothing == "absent":
        del made[attribute]
    error = refusal(json.dumps(made).encode())
    assert error.attribute == attribute
    assert error.problem == f"is missing; expected {RULES[attribute].expected}"


def test_data_may_be_null_but_not_missing() -> None:
    made = attributes(data=None)
    assert parsed(json.dumps(made).encode()).data is None
    del made["data"]
    assert refusal(json.dumps(made).encode()).attribute == "data"


@pytest.mark.parametrize(("key", "named"), [("colour", "colour"), ("data_base64", "data_base64"), ("", "['']")])
def test_unknown_attribute_is_refused_and_named(key: str, named: str) -> None:
    assert refusal(json.dumps(attributes(**{key: "x"})).encode()).attribute == named


def test_error_says_what_was_expected_and_found() -> None:
    error = refusal(json.dumps(attributes(position="x")).encode())
    assert str(error) == "position: expected an integer from 1 to 2147483647, got the string 'x'"


@pytest.mark.parametrize("size", [100, 100_000])
def test_error_stays_short(size: int) -> None:
    assert len(str(refusal(json.dumps(attributes(source="A" * size)).encode()))) < 250
    assert len(str(refusal(json.dumps(attributes(**{"A" * size: 1})).encode()))) < 250


@pytest.mark.parametrize(
    ("data", "path", "problem"),
    [
        (b'{"items":[1,{"score":NaN}]}', "data.items[1].score", "NaN is not JSON"),
        (b"[-Infinity]", "data[0]", "-Infinity is not JSON"),
        (b'{"a":1e999}', "data.a", "1e999 is larger than any 64-bit number"),
        (b'{"a":{"b":1,"c":2,"b":1}}', "data.a.b", "stands twice in the same object"),
        (b'[{"a b":1,"a\\u0020b":1}]', "data[0]['a b']", "stands twice in the same object"),
        (b'["ok","\\ud83d"]', "data[1]", "has half a surrogate pair, which UTF-8 cannot hold"),
        (b'{"\\udc00":1}', "data['\\udc00']", "is a key with half a surrogate pair, which UTF-8 cannot hold"),
        (b'{"n":' + b"9" * 4301 + b"}", "data.n", "is an integer of 4301 digits, more than are allowed here"),
        (b'{"n":-' + b"9" * 90_000 + b"}", "data.n", "is an integer of 90000 digits, more than are allowed here"),
        (b'"\xff"', "envelope", "is not UTF-8 at byte 321"),
        (b'"\xed\xa0\x80"', "envelope", "is not UTF-8 at byte 321"),
        (b"[" * 64 + b"]" * 64, "envelope", "is nested deeper than 64 levels"),
        (b"[" * 100_000, "envelope", "is nested deeper than 64 levels"),
        (b'{"a":' * 100_000, "envelope", "is nested deeper than 64 levels"),
        (b'1,"position":4', "position", "stands twice in the same object"),
        (b'1,"data":1', "data", "stands twice in the same object"),
    ],
    ids=brief,
)
def test_what_is_no_strict_json_is_refused_at_its_place(data: bytes, path: str, problem: str) -> None:
    error = refusal(around(data))
    assert (error.attribute, error.problem) == (path, problem)


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"null", b"[]", b'"text"', b"5", b"{}", b"\xef\xbb\xbf" + built(), built() + b"x", built() * 2,
     built().decode().encode("utf-16"), built()[:-1], b"{" + built(), b"\x00" + built(), built() + b"\x00"],
    ids=brief,
)  # fmt: skip
def test_what_is_no_envelope_is_refused(body: bytes) -> None:
    refusal(body)


@pytest.mark.parametrize(
    "data",
    [b"1" * 4300, b"-" + b"9" * 4300, b"[" * 63 + b"]" * 63, b"[" + b"[]," * 1000 + b"{}]", b'"' + b"[{" * 500 + b'"',
     b'"\\u0000"', b"-0.0", b"1e5", b"1E+2", b"-0", b"18446744073709551616", b'"\\ud83d\\ude00"', b"5e-324"],
    ids=brief,
)  # fmt: skip
def test_unusual_data_is_read_like_any_json_reader_does(data: bytes) -> None:
    read, expected = parsed(around(data)).data, json.loads(data)
    assert repr(read) == repr(expected)


def test_depth_scan_is_not_fooled_by_brackets_in_strings() -> None:
    tricky = {'[{\\"': ["\\", '"[[[', "\\\\"], "deep": [[]] * 40}
    assert parsed(built(tricky)).data == tricky


def test_size_is_limited() -> None:
    body = built("x" * 1000)
    parsed(body, max_bytes=len(body))
    with pytest.raises(EnvelopeTooLarge, match=f"{len(body)} bytes; at most {len(body) - 1}"):
        parsed(body, max_bytes=len(body) - 1)


def test_event_from_outside_needs_no_sequence_and_position() -> None:
    made = attributes(sequence=None, position=None)
    envelope = parsed(json.dumps(made).encode(), require_sequence=False)
    assert (envelope.sequence, envelope.position) == (None, None)
    with pytest.raises(EnvelopeError, match="sequence: is assigned on arrival"):
        _ = envelope.sequence_number


def test_our_own_writing_takes_the_quick_way() -> None:
    body = built({"text": "hello", "score": 0.25, "list": [1, None, True], "é": "\x00\x7f\u2028"})
    assert _parse_own_writing(body) == _parse_any_writing(body)


def test_lowered_limit_of_python_for_integers_is_no_crash() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert refusal(around(b"[ " + b"9" * 700 + b"]")).attribute == "data[0]"
    finally:
        sys.set_int_max_str_digits(before)
