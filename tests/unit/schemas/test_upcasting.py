"""From older versions of data to newer ones."""

from __future__ import annotations

from typing import Any

import pytest

from messaging.core.errors import SchemaError, UnknownSchema, UpcastFailed
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.upcasting import Upcasters, upcaster, upcasters
from messaging.security.schemas.uri import SchemaKey
from tests.unit.schemas.making import INTEGER, TEXT, registry_of, thing


@pytest.fixture
def registry() -> SchemaRegistry:
    return registry_of(
        order_v1=thing("price", price=INTEGER),
        order_v2=thing("price", "currency", price=INTEGER, currency=TEXT),
        order_v3=thing("cost", cost=thing("amount", "currency", amount=INTEGER, currency=TEXT)),
        order_v4=thing("cost", "lines", cost={}, lines={"type": "array"}),
    )


def add_currency(data: Any) -> Any:
    data["currency"] = "EUR"
    return data


def nest_cost(data: Any) -> Any:
    return {"cost": {"amount": data["price"], "currency": data["currency"]}}


def add_lines(data: Any) -> Any:
    return {**data, "lines": []}


@pytest.fixture
def steps() -> Upcasters:
    made = Upcasters()
    made.add("order", 1, 2, add_currency)
    made.add("order", 2, 3, nest_cost)
    made.add("order", 3, 4, add_lines)
    return made


def test_steps_compose_over_several_versions(registry: SchemaRegistry, steps: Upcasters) -> None:
    data = {"price": 7}
    wanted = {"cost": {"amount": 7, "currency": "EUR"}, "lines": []}
    assert steps.upcast(registry, SchemaKey("order", 1), data) == wanted
    assert data == {"price": 7}, "the signed original stays as it is"
    assert steps.upcast(registry, SchemaKey("order", 1), data, 2) == {"price": 7, "currency": "EUR"}
    assert steps.upcast(registry, SchemaKey("order", 4), wanted) is wanted


def test_the_shortest_way_is_taken(registry: SchemaRegistry, steps: Upcasters) -> None:
    steps.add("order", 1, 4, lambda data: {"cost": data["price"], "lines": ["direct"]})
    assert steps.path(SchemaKey("order", 1), 4) == [4]
    assert steps.upcast(registry, SchemaKey("order", 1), {"price": 7})["lines"] == ["direct"]


def test_a_missing_step_is_named(registry: SchemaRegistry) -> None:
    steps = Upcasters()
    steps.add("order", 1, 2, add_currency)
    steps.add("order", 3, 4, add_lines)
    with pytest.raises(UpcastFailed, match=r"no step leads on from version 2. Write @upcaster\('order', 2, 3\)"):
        steps.upcast(registry, SchemaKey("order", 1), {"price": 7})
    with pytest.raises(UnknownSchema):
        steps.upcast(registry, SchemaKey("order", 1), {"price": 7}, 9)


def test_no_step_leads_back(registry: SchemaRegistry, steps: Upcasters) -> None:
    with pytest.raises(UpcastFailed, match="version 4 cannot be brought to version 1"):
        steps.upcast(registry, SchemaKey("order", 4), {}, 1)
    with pytest.raises(SchemaError, match="leads to no newer version"):
        steps.add("order", 2, 2, add_currency)


def test_what_a_step_makes_must_follow_its_version(registry: SchemaRegistry) -> None:
    steps = Upcasters()
    steps.add("order", 1, 2, lambda data: {**data, "currency": 978})
    with pytest.raises(UpcastFailed, match="from version 1 to 2 made what version 2 does not allow: data/currency"):
        steps.upcast(registry, SchemaKey("order", 1), {"price": 7}, 2)


def test_a_step_that_raises_is_named_without_the_data(registry: SchemaRegistry) -> None:
    steps = Upcasters()
    steps.add("order", 1, 2, lambda data: {}[data["secret"]])
    with pytest.raises(UpcastFailed, match=r"raised KeyError at .*test_upcasting.py:\d+") as failed:
        steps.upcast(registry, SchemaKey("order", 1), {"secret": "hunter2"}, 2)
    assert "hunter2" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_a_step_has_one_function(steps: Upcasters) -> None:
    steps.add("order", 1, 2, add_currency)
    with pytest.raises(SchemaError, match="is defined twice"):
        steps.add("order", 1, 2, add_lines)


def test_the_decorator_returns_the_function() -> None:
    assert upcaster("test.upcasting", 1, 2)(add_lines) is add_lines
    assert upcasters.path(SchemaKey("test.upcasting", 1), 2) == [2]
