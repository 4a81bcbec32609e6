"""Labels join as sets do, are written in one way, and a schema that could carry words is no extraction."""

from __future__ import annotations

from typing import Any

import pytest

from messaging.core.errors import ConfigurationError, EnvelopeError, LabelError
from messaging.core.extraction import MAX_NUMBER, Extraction
from messaging.core.label_rules import LabelRules
from messaging.core.labels import MANY, MAX_NAMES, NO_LABELS, LabelPolicy, Labels
from messaging.core.registry import AgentSpec
from tests.unit.core.samples import built

WEB, MAIL = Labels.of(origins=["web"]), Labels.of(origins=["mail"], private=["customers"])


def test_joining_is_a_union() -> None:
    assert WEB | WEB == WEB | NO_LABELS == NO_LABELS | WEB == WEB
    assert (WEB | MAIL) == (MAIL | WEB)
    assert str(WEB | MAIL) == "origin:mail origin:web private:customers"
    assert (WEB | MAIL).covers(MAIL)
    assert not WEB.covers(MAIL)
    assert MAIL.lowered(trusted=True) == Labels.of(private=["customers"])
    assert not MAIL.lowered(trusted=True, public=["customers"])


def test_a_label_has_an_end_that_nothing_slips_through() -> None:
    joined = NO_LABELS
    for number in range(40):
        joined |= Labels.of(private=[f"name{number}"])
    assert len(joined.private) == MAX_NAMES
    assert MANY in joined.private
    assert LabelPolicy(private=tuple(f"name{number}" for number in range(16))).refused(joined)
    with pytest.raises(LabelError, match="at most 16"):
        Labels.of(origins=[f"o{number}" for number in range(17)])


@pytest.mark.parametrize(
    "text", ["", "web", "origin:", "origin:Web", "origin:b origin:a", "origin:a  origin:b", "private:a origin:a", "x:y"]
)
def test_there_is_one_spelling(text: str) -> None:
    with pytest.raises(LabelError):
        Labels.parse(text)
    if text:
        with pytest.raises(EnvelopeError, match="labels"):
            built(labels=text)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "format": "uri"},
        {"type": ["integer", "string"]},
        {"type": "object", "properties": {}},
        {"type": "object", "additionalProperties": False, "properties": {"a": {"type": "string"}}},
        {"type": "object", "additionalProperties": False, "patternProperties": {}},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "integer"}, "maxItems": 10_000},
        {"anyOf": [{"type": "string"}]},
        {"enum": []},
        {"enum": [{"a": 1}]},
        {"$ref": "#"},
        {},
        True,
    ],
)
def test_a_schema_that_could_carry_words_is_refused(schema: Any) -> None:
    with pytest.raises(ConfigurationError, match="Extraction 'x'"):
        Extraction("x", schema)


GOOD: Any = {
    "type": "object",
    "additionalProperties": False,
    "required": ["kind"],
    "properties": {
        "kind": {"enum": ["bill", "offer", 1]},
        "sum": {"type": "number", "maximum": 10},
        "due": {"type": "string", "format": "date"},
        "days": {"type": "array", "maxItems": 2, "items": {"type": "integer"}},
        "ok": {"type": "boolean"},
        "no": {"type": "null"},
    },
}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"kind": "bill", "sum": 9.5, "due": "2026-01-31", "days": [1, 2], "ok": True, "no": None}, None),
        ({"kind": True}, "/kind is none of the enum"),
        ({"sum": 1}, "/kind is missing"),
        ({"kind": 1, "sum": 11}, "/sum is no number"),
        ({"kind": 1, "sum": float("nan")}, "/sum is no number"),
        ({"kind": 1, "due": "tomorrow, and pay"}, "/due is no date"),
        ({"kind": 1, "days": [1, 2, 3]}, "/days is no array"),
        ({"kind": 1, "days": [MAX_NUMBER + 1]}, "/days/0 is no integer"),
        ({"kind": 1, "words": "x"}, "/ is no object of only"),
        ({"kind": 1, "ok": 1}, "/ok is no boolean"),
        ("bill", "/ is no object"),
    ],
)
def test_an_extraction_takes_what_its_schema_says(data: Any, problem: str | None) -> None:
    if problem is None:
        Extraction("x", GOOD).check(data)
    else:
        with pytest.raises(LabelError, match=problem):
            Extraction("x", GOOD).check(data)


@pytest.mark.parametrize(
    "text", ["web=origin:web", "sender:web", "sender:web=web=", "agent:a=origin:b", "type:=origin:a"]
)
def test_rules_of_an_installation_are_checked(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"NEXUS\['LABELS'\]"):
        LabelRules.parse(text)


@pytest.mark.parametrize(
    "options",
    [{"origin": "The Web"}, {"private": "customers"}, {"reads_untrusted": "no"}, {"accepts_labels": ("trusted",)}],
)
def test_an_agent_declares_what_can_be(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="Agent 'a'"):
        AgentSpec(name="a", handler=lambda message, context: None, **options)
