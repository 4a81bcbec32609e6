"""What has one obvious form in JSON is sent in it; what has none is refused with what to write instead."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from django.contrib.auth.models import User
from django.utils.safestring import SafeString

from messaging.core.context import HandlerContext
from messaging.core.envelope import parse_envelope
from messaging.core.errors import EnvelopeError, TerminalError
from messaging.core.once import MemoryResults
from messaging.core.plain_data import encode_data, to_plain
from tests.unit.agents.envelopes import make_envelope
from tests.unit.core.samples import MAX_BYTES, MESSAGE, brief, built

ID = UUID("01a20979-79aa-734d-91e4-96982d670000")
Point = namedtuple("Point", "x y")


class Level(IntEnum):
    HIGH = 3


class Odd(Enum):
    DAY = date(2026, 1, 31)


@dataclass(frozen=True)
class Order:
    item: str
    price: Decimal
    parts: list[Point] = field(default_factory=list)


class Struct(msgspec.Struct, rename="camel", tag="job", omit_defaults=True):
    started_at: datetime
    tries: int = 0
    order: Order | None = None


class Model(pydantic.BaseModel):
    id: UUID
    price: Decimal
    when: datetime


OBVIOUS: list[tuple[Any, Any]] = [
    (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00Z"),
    (date(2026, 1, 31), "2026-01-31"),
    (time(12, 30), "12:30:00"),
    (timedelta(hours=25), "P1DT3600S"),
    (ID, str(ID)),
    (Decimal("1.50"), "1.50"),
    (Level.HIGH, 3),
    (Odd.DAY, "2026-01-31"),
    (SafeString("<b>"), "<b>"),
    ((1, (2, ())), [1, [2, []]]),
    (Point(1, ID), [1, str(ID)]),
    (Order("lamp", Decimal(40), [Point(0, 1)]), {"item": "lamp", "price": "40", "parts": [[0, 1]]}),
    (
        Struct(datetime(2026, 1, 31, tzinfo=UTC), order=Order("x", Decimal(1))),
        {"type": "job", "startedAt": "2026-01-31T00:00:00Z", "order": {"item": "x", "price": "1", "parts": []}},
    ),
    (
        Model(id=ID, price=Decimal("0.10"), when=datetime(2026, 1, 31, tzinfo=UTC)),
        {"id": str(ID), "price": "0.10", "when": "2026-01-31T00:00:00Z"},
    ),
    ({SafeString("key"): [{"deep": ID}]}, {"key": [{"deep": str(ID)}]}),
]


@pytest.mark.parametrize(("value", "json_form"), OBVIOUS, ids=brief)
def test_what_has_one_obvious_form_is_written_in_it(value: Any, json_form: Any) -> None:
    for data, expected in ((value, json_form), ({"in": [value]}, {"in": [json_form]})):
        assert parse_envelope(built(data), max_bytes=MAX_BYTES).data == expected
        assert json.loads(encode_data(data)) == expected


OF_MSGSPEC = [value for value, _ in OBVIOUS if type(value) not in (SafeString, Model, dict)]


@pytest.mark.parametrize("value", OF_MSGSPEC, ids=brief)
def test_it_is_the_form_that_msgspec_writes(value: Any) -> None:
    assert json.loads(encode_data(value)) == json.loads(msgspec.json.encode(value))


def numbers() -> Iterator[int]:
    yield 1


HOPELESS: list[tuple[Any, str]] = [
    (b"raw", "base64.b64encode(value).decode()"),
    (bytearray(b"raw"), "base64"),
    ({1, 2}, "sorted(value)"),
    (frozenset("a"), "sorted(value)"),
    (Decimal("NaN"), "None or a text"),
    (float("nan"), "no JSON number"),
    (complex(1, 2), "[value.real, value.imag]"),
    (PurePosixPath("/tmp"), "str(value)"),
    (ValueError("x"), "str(value) or repr(value)"),
    (User(pk=5), "primary key (value.pk)"),
    (len, "call it"),
    (numbers(), "list(value)"),
    (range(3), "list(value)"),
    (object(), "a dict, a dataclass or a text"),
    ({ID: 1}, "str(key)"),
    ({5: 1}, "str(key)"),
    (Order("lamp", Decimal("Infinity")), "None or a text"),
]


@pytest.mark.parametrize(("value", "advice"), HOPELESS, ids=lambda value: type(value).__name__)
def test_what_has_none_is_refused_with_what_to_write_instead(value: Any, advice: str) -> None:
    for refuse in (lambda data: built(data), encode_data):
        with pytest.raises(EnvelopeError) as caught:
            refuse({"items": [0, value]})  # type: ignore[no-untyped-call]
        assert "items[1]" in caught.value.attribute
        assert advice in str(caught.value)


def test_a_set_in_a_struct_is_refused_at_its_place() -> None:
    class Holder(msgspec.Struct):
        tags: set[str]

    with pytest.raises(EnvelopeError, match=r"data\.tags: is a Python set"):
        built(Holder({"a"}))


def test_the_value_is_not_changed() -> None:
    value = {"when": datetime(2026, 1, 31, tzinfo=UTC), "pair": (1, 2)}
    before = dict(value)
    to_plain(value)
    assert value == before


def context(results: MemoryResults | None = None) -> HandlerContext:
    return HandlerContext(message=make_envelope(), agent="agent", delivery_id=MESSAGE, results=results)


def returning(value: Any) -> Callable[[], Any]:
    return lambda: value


def test_state_and_results_take_and_refuse_the_same() -> None:
    changed = context()
    changed.state["price"] = Decimal("1.50")
    assert changed.changed_state() == {"price": "1.50"}
    for value in (float("nan"), {1}, b"x"):
        broken = context()
        broken.state["items"] = [value]
        with pytest.raises(TerminalError, match=r"items\[0\]"):
            broken.changed_state()
        with pytest.raises(TerminalError, match=r"items\[0\]"):
            context(MemoryResults()).once("key", returning({"items": [value]}))
    assert context(MemoryResults()).once("key", lambda: ID) == str(ID)


@pytest.mark.parametrize("key", ["a\x00b", "\ud800"])
def test_a_key_that_no_database_stores_is_refused(key: str) -> None:
    with pytest.raises(TerminalError, match="neither NUL"):
        context(MemoryResults()).once(key, lambda: 1)
