"""Properties of the envelope that hold for any data and any bytes, with examples from public corpora."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from messaging.core.envelope import Envelope, _parse_any_writing, _parse_own_writing, parse_envelope
from messaging.core.errors import EnvelopeError
from tests.support.corpora import json_parsing_cases, naughty_strings
from tests.unit.core.samples import MAX_BYTES, around, built

# Duplicate keys are JSON by the letter of RFC 8259, but readers disagree on what they mean.
DELIBERATELY_REFUSED = {"y_object_duplicated_key", "y_object_duplicated_key_and_value"}

text = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(text, inner, max_size=5),
    max_leaves=30,
)
fragments = st.sampled_from(
    [
        *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"NaN", b"1e999", b"\\ud800", b"\xff", b"\x00", b"null"),
        *(b'"data":1', b'"id":', b"9" * 5000, b"[" * 70, b"\xef\xbb\xbf", b"-", b"0", b"."),
    ]
)


def read(body: bytes) -> Envelope | EnvelopeError:
    """Parse; any error but EnvelopeError fails the test."""
    try:
        return parse_envelope(body, max_bytes=MAX_BYTES)
    except EnvelopeError as error:
        str(error).encode()  # logs and databases can take it
        return error


@given(json_values)
def test_any_json_data_arrives_the_same(data: Any) -> None:
    body = built(data)
    envelope = parse_envelope(body, max_bytes=MAX_BYTES)
    assert repr(envelope.data) == repr(data)
    assert _parse_own_writing(body) == _parse_any_writing(body)


@given(json_values)
def test_any_spelling_of_data_is_read_alike(data: Any) -> None:
    escaped = json.dumps(json.loads(built(data)), indent=1).encode()
    assert repr(parse_envelope(escaped, max_bytes=MAX_BYTES).data) == repr(data)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_cleanly(body: bytes) -> None:
    assert isinstance(read(body), EnvelopeError)
    read(around(body))


@settings(max_examples=max(400, settings().max_examples))
@given(
    json_values,
    st.lists(
        st.tuples(st.integers(0, 1000), st.integers(0, 20), fragments | st.binary(max_size=4)), min_size=1, max_size=4
    ),
)
def test_mutated_envelopes_are_read_or_refused_cleanly(data: Any, edits: list[tuple[int, int, bytes]]) -> None:
    body = built(data)
    for place, removed, inserted in edits:
        place %= len(body) + 1
        body = body[:place] + inserted + body[place + removed :]
    read(body)
    quick = _parse_own_writing(body)
    if quick is not None:
        assert quick == _parse_any_writing(body)


@given(st.dictionaries(text, json_values, max_size=8))
def test_arbitrary_objects_are_refused_cleanly(attributes: dict[str, Any]) -> None:
    assert isinstance(read(json.dumps(attributes).encode()), EnvelopeError)


@given(st.sampled_from(sorted(json.loads(built()))), json_values)
@example("position", 1.0)
@example("time", "2026-01-31T12:00:00+02:00")
def test_arbitrary_value_of_an_attribute_is_read_or_refused_cleanly(attribute: str, value: Any) -> None:
    made = json.loads(built()) | {attribute: value}
    compact = json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode()
    outcome = read(compact)
    if isinstance(outcome, EnvelopeError):
        assert outcome.attribute == attribute


def test_corpus_of_json_cases_as_data() -> None:
    cases = json_parsing_cases()
    outcomes = {name: read(around(body)) for name, body in cases.items()}
    refused = {name for name, outcome in outcomes.items() if isinstance(outcome, EnvelopeError)}
    # These become JSON when an envelope stands around them: its own bracket ends theirs, or white space is no value.
    must_refuse = {name for name in cases if name.startswith("n_")}
    assert must_refuse - refused == set()
    assert refused - must_refuse == DELIBERATELY_REFUSED
    for name, outcome in outcomes.items():
        if isinstance(outcome, Envelope):
            assert repr(outcome.data) == repr(json.loads(cases[name])), name


def test_corpus_of_json_cases_as_the_whole_envelope() -> None:
    cases = json_parsing_cases()
    assert len(cases) > 250
    assert [name for name, body in cases.items() if not isinstance(read(body), EnvelopeError)] == []


def test_corpus_of_naughty_strings_arrives_the_same() -> None:
    strings = naughty_strings()
    assert len(strings) > 400
    data = {"list": strings, "keys": {string: index for index, string in enumerate(strings)}}
    assert parse_envelope(built(data), max_bytes=MAX_BYTES).data == data


def test_corpus_of_naughty_strings_as_attributes() -> None:
    made = json.loads(built())
    for string in naughty_strings():
        for attribute in ("id", "time", "sequence", "position", "traceparent", "partitionkey"):
            outcome = read(json.dumps(made | {attribute: string}).encode())
            assert isinstance(outcome, EnvelopeError), (attribute, string)
            assert outcome.attribute == attribute


def test_infinity_never_comes_out_of_a_parse() -> None:
    for exponent in range(300, 330):
        outcome = read(around(b"1e%d" % exponent))
        assert isinstance(outcome, EnvelopeError) or math.isfinite(outcome.data)
