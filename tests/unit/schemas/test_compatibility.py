"""Which version reads which: by accepted values, with a sample for every no."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.core.errors import IncompatibleSchema
from messaging.models import Compatibility
from messaging.security.schemas.closing import close
from messaging.security.schemas.compatibility import Coverage, compare, compare_all
from messaging.security.schemas.compiled import make_validator
from messaging.security.schemas.registering import refuse_breaking
from tests.unit.schemas.making import INTEGER, TEXT, thing


def answers(old: Any, new: Any) -> tuple[str, str]:
    """Whether the new version reads the old one, and the other way round."""
    new_reads, old_reads = compare_all("t", {1: old, 2: new}, 2)
    return new_reads.answer.value, old_reads.answer.value


V1 = thing("a", a=INTEGER)
CASES = {
    "the same": (V1, V1, "yes", "yes"),
    "an optional property more": (V1, thing("a", a=INTEGER, b=TEXT), "yes", "yes"),
    "an optional property less": (thing("a", a=INTEGER, b=TEXT), V1, "yes", "yes"),
    "a required property more": (V1, thing("a", "b", a=INTEGER, b=TEXT), "no", "yes"),
    "no longer required": (V1, thing(a=INTEGER), "yes", "no"),
    "a narrower number": (V1, thing("a", a={"type": "integer", "minimum": 3}), "no", "yes"),
    "a wider number": (V1, thing("a", a={"type": "number"}), "yes", "no"),
    "another type": (V1, thing("a", a=TEXT), "no", "no"),
    "another type of what is optional": (thing(a=INTEGER), thing(a=TEXT), "no", "no"),
    "a shorter text": (thing(a=TEXT), thing(a={**TEXT, "maxLength": 7}), "no", "yes"),
    "a pattern": (thing(a=TEXT), thing(a={**TEXT, "pattern": "^x+$"}), "no", "yes"),
    "a format": (thing(a=TEXT), thing(a={**TEXT, "format": "date"}), "no", "yes"),
    "a choice less": (thing(a={"enum": ["x", "y"]}), thing(a={"enum": ["x"]}), "no", "yes"),
    "null more": (V1, thing("a", a={"type": ["integer", "null"]}), "yes", "no"),
    "deep inside": (
        thing(a={"type": "array", "items": V1}),
        thing(a={"type": "array", "items": thing("a", a={**INTEGER, "maximum": 9})}),
        "no",
        "yes",
    ),
    "an optional property more, deep inside": (
        thing(a={"type": "array", "items": V1}),
        thing(a={"type": "array", "items": thing("a", a=INTEGER, b=TEXT)}),
        "yes",
        "yes",
    ),
    "a closed one opened": ({**V1, "additionalProperties": False}, V1, "yes", "yes"),
    "more in a reader that forbids it": (
        {**V1, "additionalProperties": False},
        {**thing("a", a=INTEGER, b=TEXT), "additionalProperties": False},
        "yes",
        "no",
    ),
    "titles": (V1, {**V1, "title": "A thing", "properties": {"a": {**INTEGER, "description": "x"}}}, "yes", "yes"),
    "written otherwise": (thing(a={"enum": [1, 2]}), thing(a={"anyOf": [{"const": 2}, {"const": 1}]}), "yes", "yes"),
}


@pytest.mark.parametrize(("old", "new", "new_reads", "old_reads"), CASES.values(), ids=CASES)
def test_versions_are_compared_by_what_they_accept(old: Any, new: Any, new_reads: str, old_reads: str) -> None:
    assert answers(old, new) == (new_reads, old_reads)


class Line(msgspec.Struct):
    sku: str


class Order(msgspec.Struct):
    number: int
    lines: list[Line]


class LongerLine(msgspec.Struct):
    sku: str
    pieces: int = 1


class LongerOrder(msgspec.Struct):
    number: int
    lines: list[LongerLine]
    note: str | None = None


def test_a_field_with_a_default_may_be_added_to_a_model() -> None:
    assert answers(msgspec.json.schema(Order), msgspec.json.schema(LongerOrder)) == ("yes", "yes")


def test_a_no_comes_with_a_message_that_breaks() -> None:
    narrowed = thing("a", a={"type": "integer", "minimum": 3})
    found = compare("t", {1: V1, 2: narrowed}, 2, 1)
    assert make_validator(V1, "old").is_valid(found.sample)
    assert not make_validator(narrowed, "new").is_valid(found.sample)
    assert str(found) == f'version 2 reads what version 1 writes: no. It refuses {{"a": {found.sample["a"]}}}: ' + (
        "data/a: expected at least 3"
    )
    with pytest.raises(IncompatibleSchema, match=r"It refuses .* or choose another compatibility"):
        refuse_breaking([found], "I know what I do")


def test_what_is_not_proven_needs_a_reason() -> None:
    old, new = ({"type": "string", "pattern": pattern} for pattern in ("^ab", "^a"))
    found = compare("t", {1: old, 2: new}, 2, 1)
    assert found.answer is Coverage.UNKNOWN
    with pytest.raises(IncompatibleSchema, match="not proven"):
        refuse_breaking([found])
    refuse_breaking([found], "Every text that begins with ab begins with a. (Ada)")


MODES = {
    "none": [],
    "backward": [(3, 2)],
    "backward_transitive": [(3, 2), (3, 1)],
    "forward": [(2, 3)],
    "forward_transitive": [(2, 3), (1, 3)],
    "full": [(3, 2), (2, 3)],
    "full_transitive": [(3, 2), (2, 3), (3, 1), (1, 3)],
}


@pytest.mark.parametrize("mode", Compatibility)
def test_a_mode_says_who_must_read_whom(mode: Compatibility) -> None:
    found = compare_all("t", {1: V1, 2: V1, 3: V1, 4: V1}, 3, mode)
    assert [(item.reader, item.writer) for item in found] == MODES[mode.value]


def test_versions_two_apart_can_break_though_neighbours_do_not() -> None:
    documents = {1: thing(a=INTEGER, b=TEXT), 2: thing(a=INTEGER), 3: thing(a=INTEGER, b=INTEGER)}
    assert all(item.answer is Coverage.YES for item in compare_all("t", documents, 3, Compatibility.FULL))
    assert any(item.answer is Coverage.NO for item in compare_all("t", documents, 3))


# --- closing ---


def test_writers_are_closed_where_one_place_declares_the_properties() -> None:
    closed = close({"anyOf": [V1, {"$ref": "#/$defs/x"}], "$defs": {"x": V1}})
    shut = {**V1, "additionalProperties": False}
    assert closed == {"anyOf": [shut, {"$ref": "#/$defs/x"}], "$defs": {"x": shut}}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [V1, thing(b=TEXT)]},
        {**V1, "anyOf": [thing("b", b=TEXT), thing("c", c=TEXT)]},
        {"not": V1},
        {"$ref": "#/$defs/x", "$defs": {"x": V1}, "properties": {"b": TEXT}},
        {"allOf": [{"$ref": "#/$defs/x"}, thing(b=TEXT)], "$defs": {"x": V1}},
        {"oneOf": [V1, thing(b=TEXT)]},
    ],
)
def test_what_several_places_declare_together_stays_open(schema: Any) -> None:
    assert close(schema) == schema


# --- the proof is held against values ---

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "a", "ab", "b", 0.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.just({}),
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"enum": ["a", 1, None]}, {"const": "a"}]),
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-5, 5),
        st.integers(0, 5),
    ),
    st.builds(
        lambda low, size: {"type": "string", "minLength": low, "maxLength": low + size},
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    st.sampled_from([{"type": "string", "pattern": "^a"}, {"type": "number", "multipleOf": 2}]),
)


def _grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from("abc")
    objects = st.builds(
        lambda properties, required, closed: {
            **thing(*sorted(required), **properties),
            **({"additionalProperties": False} if closed else {}),
        },
        st.dictionaries(names, inner, max_size=3),
        st.sets(names, max_size=2),
        st.booleans(),
    )
    arrays = st.builds(
        lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 2)
    )
    several = st.lists(inner, min_size=1, max_size=2)
    combined = st.builds(lambda word, some: {word: some}, st.sampled_from(["anyOf", "allOf", "oneOf"]), several)
    return objects | arrays | combined | st.builds(lambda some: {"not": some}, inner)


SCHEMAS = st.recursive(LEAVES, _grow, max_leaves=5)


@settings(max_examples=150, deadline=None)
@given(old=SCHEMAS, new=SCHEMAS, values=st.lists(VALUES, max_size=30))
def test_no_value_contradicts_a_yes_and_every_no_has_one_that_breaks(old: Any, new: Any, values: list[Any]) -> None:
    found = compare("t", {1: old, 2: new}, 2, 1)
    reader, writer, closed = (make_validator(document, "drawn") for document in (new, old, close(old)))
    if found.answer is Coverage.YES:
        for value in values:
            assert reader.is_valid(value) or not (writer.is_valid(value) and closed.is_valid(value)), value
    elif found.answer is Coverage.NO:
        assert writer.is_valid(found.sample)
        assert not reader.is_valid(found.sample)
