"""Checking batches: what passes, what is refused, and what an error may say."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from typing import Any

import pytest

from messaging.core.errors import SchemaViolation
from messaging.security.schemas.compiled import CompiledSchema
from messaging.security.schemas.deprecation import MAX_COUNTED, OTHERS, DeprecatedUses, Use
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.sources import Found
from messaging.security.schemas.uri import SchemaKey
from messaging.security.schemas.validation import SchemaCandidate, SchemaChecker, UnknownTypes
from tests.unit.schemas.making import INTEGER, TEXT, found, registry_of, thing

SECRET = "hunter2-4111111111111111"


def check(schema: Any, data: Any) -> SchemaViolation | None:
    return SchemaChecker(registry_of(order_v1=schema)).check([SchemaCandidate("order", 1, data)])[0].violation


class Counting(SchemaRegistry):
    """Notes what it is asked for."""

    def __init__(self, schemas: Iterable[Found]) -> None:
        super().__init__(schemas)
        self.asked: list[tuple[str, int | None]] = []

    def resolve(self, type: str, version: int | None = None) -> CompiledSchema | None:
        self.asked.append((type, version))
        return super().resolve(type, version)


def test_a_batch_is_checked_in_its_order_with_each_schema_looked_up_once() -> None:
    documents = {"order:1": INTEGER, "order:2": TEXT, "note:1": TEXT}
    registry = Counting(found(name, document) for name, document in documents.items())
    batch = [("order", 1, 1), ("order", 1, "x"), ("order", 2, "x"), ("note", None, 1), ("order", None, "x")] * 10
    verdicts = SchemaChecker(registry).check([SchemaCandidate(*item) for item in batch])
    assert [verdict.violation is None for verdict in verdicts] == [True, False, True, False, True] * 10
    assert len(registry.asked) == len(set(registry.asked)) == 4


LEAKS = {
    "type": ({"type": "integer"}, SECRET),
    "const": ({"const": 1}, SECRET),
    "enum": ({"enum": ["a", "b"]}, SECRET),
    "minLength": ({"minLength": 99}, SECRET),
    "maxLength": ({"maxLength": 2}, SECRET),
    "pattern": ({"pattern": "^a$"}, SECRET),
    "format": ({"format": "date"}, SECRET),
    "minimum": ({"minimum": 10**20}, 4111111111111111),
    "multipleOf": ({"multipleOf": 7}, 4111111111111111),
    "anyOf": ({"anyOf": [{"type": "integer"}, {"const": 1}]}, SECRET),
    "oneOf": ({"oneOf": [{"type": "string"}, {"minLength": 1}]}, SECRET),
    "oneOf, none": ({"oneOf": [{"type": "null"}, {"const": 1}]}, SECRET),
    "not": ({"not": {"type": "string"}}, SECRET),
    "contains": ({"contains": {"const": 1}}, [SECRET]),
    "uniqueItems": ({"uniqueItems": True}, [SECRET, SECRET]),
    "additionalProperties": ({"additionalProperties": False}, {SECRET: 1}),
    "a key on the way": ({"additionalProperties": {"type": "integer"}}, {SECRET: "x"}),
    "propertyNames": ({"propertyNames": {"maxLength": 2}}, {SECRET: 1}),
    "unevaluatedProperties": ({"unevaluatedProperties": False}, {SECRET: 1}),
    "patternProperties": ({"patternProperties": {"^h": {"type": "integer"}}}, {SECRET: SECRET}),
    "dependentRequired": ({"dependentRequired": {"a": ["b"]}}, {"a": SECRET}),
    "false": (False, SECRET),
    "if": ({"if": {"type": "string"}, "then": {"const": "a"}}, SECRET),
    "unevaluatedItems": ({"prefixItems": [True], "unevaluatedItems": False}, [1, SECRET]),
}


@pytest.mark.parametrize(("schema", "data"), LEAKS.values(), ids=LEAKS)
def test_no_error_shows_a_value(schema: Any, data: Any) -> None:
    violation = check(schema, data)
    assert violation is not None
    told = "".join(traceback.format_exception(violation)) + repr(vars(violation))
    assert "4111111111111111" not in told
    assert "hunter2" not in told
    assert "'order', version 1: data" in told


def test_an_error_says_where_and_what_is_expected() -> None:
    schema = thing("lines", lines={"type": "array", "items": thing("sku", sku=TEXT, n={"minimum": 1})})
    violation = check(schema, {"lines": [{"sku": "a", "n": 1}, {"n": 0}]})
    assert violation is not None
    assert set(violation.problems) == {
        "data/lines/1/n: expected at least 1",
        "data/lines/1: expected the property 'sku'",
    }


def test_an_error_says_no_more_than_some_problems() -> None:
    schema = {"items": {"type": "string"}}
    some, many = check(schema, list(range(50))), check(schema, list(range(100_000)))
    assert some is not None
    assert len(some.problems) == 10
    assert many is not None
    assert many.problems == ("data/0: expected a value of type string",)


@pytest.mark.timeout(20)
def test_large_data_that_break_everything_are_refused_quickly() -> None:
    checker = SchemaChecker(registry_of(order_v1={"items": {"type": "string"}}))
    batch = [SchemaCandidate("order", 1, list(range(100_000)))] * 20  # a second each, when all errors are collected
    assert all(verdict.violation for verdict in checker.check(batch))


@pytest.mark.timeout(20)
def test_a_pattern_takes_linear_time() -> None:
    text = "a" * 50 + "b"
    for pattern in ("^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*)*x$", "^(a?){50}a{50}$"):
        batch = [SchemaCandidate("order", 1, text)] * 200
        checker = SchemaChecker(registry_of(order_v1={"type": "string", "pattern": pattern}))
        assert all(verdict.violation is not None for verdict in checker.check(batch))


def test_a_schema_that_contains_itself_ends() -> None:
    assert check({"$ref": "#"}, 1) is None
    nested: Any = None
    for _ in range(60):
        nested = {"next": nested}
    schema = {"type": ["object", "null"], "properties": {"next": {"$ref": "#"}}}
    assert check(schema, nested) is None
    assert check(schema, {"next": {"next": 1}}) is not None


@pytest.mark.parametrize("number", [10**400, -(10**4000), 1e308, 2**64])
def test_any_number_can_be_checked(number: float) -> None:
    assert check({"type": "number"}, number) is None
    assert check({"type": "string"}, number) is not None


# --- unknown types ---


def test_unknown_types_are_let_through_told_or_refused(caplog: pytest.LogCaptureFixture) -> None:
    batch = [SchemaCandidate("other", None, 1), SchemaCandidate("other", None, 2), SchemaCandidate("order", None, 1)]
    registry = registry_of(order_v1=INTEGER)
    with caplog.at_level(logging.WARNING):
        assert not any(verdict.violation for verdict in SchemaChecker(registry).check(batch))
        assert caplog.messages == []
        warning = SchemaChecker(registry, UnknownTypes.WARN)
        for _ in range(3):
            assert not any(verdict.violation for verdict in warning.check(batch))
        assert caplog.messages == ["Messages of type 'other' have no schema and are not checked."]
    verdicts = SchemaChecker(registry, UnknownTypes.REFUSE).check(batch)
    assert ["has no schema" in str(verdict.violation) for verdict in verdicts] == [True, True, False]


def test_a_version_that_nobody_has_is_refused_whatever_the_policy() -> None:
    verdict = SchemaChecker(registry_of(order_v1=INTEGER)).check([SchemaCandidate("order", 2, 1)])[0]
    assert "has no schema of version 2; it has 1" in str(verdict.violation)


# --- deprecation ---


def test_who_still_sends_what_is_deprecated_is_counted() -> None:
    registry = registry_of(order_v1={**INTEGER, "deprecated": True}, order_v2=INTEGER)
    old, new = registry.resolve("order", 1), registry.resolve("order", 2)
    uses = DeprecatedUses()
    uses.note([(old, "shop"), (old, "shop"), (new, "shop"), (None, "shop"), (old, "till")])
    key = SchemaKey("order", 1)
    assert uses.counts() == {Use(key, "shop"): 2, Use(key, "till"): 1}
    uses.note((old, f"agent{number}") for number in range(MAX_COUNTED + 5))
    assert len(uses.counts()) == MAX_COUNTED + 1
    assert uses.counts()[Use(key, OTHERS)] == 7
