"""Bundles: what goes together, and that any bytes are taken apart or refused, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.brokers import OutgoingMessage
from messaging.brokers.rabbitmq.bundles import (
    BUNDLE_TYPE,
    MAX_BUNDLE_BYTES,
    MAX_PARTS,
    carriers,
    pack,
    unpack,
)

PLAIN = st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.none()
HEADERS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), PLAIN, max_size=5)
PARTS = st.lists(st.tuples(HEADERS, st.binary(max_size=60)), min_size=1, max_size=5)


def message(identifier: str, **options: Any) -> OutgoingMessage:
    values: dict[str, Any] = {
        "body": identifier.encode(),
        "exchange": "nexus",
        "routing_key": "quick",
        "headers": {"id": identifier},
        "bundle_size": 3,
    }
    return OutgoingMessage(id=identifier, **{**values, **options})


def carried(*messages: OutgoingMessage) -> list[tuple[str, ...]]:
    return [identifiers for _, identifiers in carriers(messages)]


@given(PARTS, st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_what_is_packed_is_unpacked(parts: list[tuple[dict[str, Any], bytes]], content_type: str) -> None:
    kind, found = unpack(pack(parts, content_type))
    assert (kind, found) == (content_type, parts)
    for (headers, _), (expected, _) in zip(found, parts, strict=True):
        assert list(map(type, headers.values())) == list(map(type, expected.values())), "True is not 1"


CHANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=4)


@settings(max_examples=200)
@given(PARTS, CHANGES)
def test_changed_bytes_are_a_bundle_or_refused(
    parts: list[tuple[dict[str, Any], bytes]], changes: list[tuple[int, int, bytes]]
) -> None:
    body = bytearray(pack(parts, "text/plain"))
    for at, length, new in changes:
        body[at : at + length] = new
    with suppress(ValueError):
        _, found = unpack(bytes(body))
        assert 0 < len(found) <= MAX_PARTS
        assert all(isinstance(part, bytes) for _, part in found)


def _packed(value: object) -> bytes:
    return b"\x01" + msgspec.msgpack.encode(value)


DEEP = b"\x01\x92\xa1t" + b"\x91" * 100_000

MALFORMED = {
    "empty": (b"", "version none"),
    "garbage": (b"\xff\xfe\x00", "version 255"),
    "another version": (b"\x02" + _packed(["t", [[{}, b""]]])[1:], "version 2"),
    "nothing behind the version": (b"\x01", "a damaged bundle"),
    "cut": (_packed(["t", [[{}, b"abc"]]])[:-1], "a damaged bundle"),
    "more behind it": (_packed(["t", [[{}, b"abc"]]]) + b"x", "a damaged bundle"),
    "no messages": (_packed(["t", []]), "0 messages"),
    "too many messages": (_packed(["t", [[{}, b""]] * (MAX_PARTS + 1)]), f"{MAX_PARTS + 1} messages"),
    "a bundle in a bundle": (_packed([BUNDLE_TYPE, [[{}, b""]]]), "a bundle in a bundle"),
    "too large": (_packed(["t", [[{}, b"x" * MAX_BUNDLE_BYTES]]]), "at most are read"),
    "body is text": (_packed(["t", [[{}, "text"]]]), "a damaged bundle"),
    "a header is a list": (_packed(["t", [[{"x": []}, b""]]]), "a damaged bundle"),
    "a header is a float": (_packed(["t", [[{"x": 1.5}, b""]]]), "a damaged bundle"),
    "a name is a number": (_packed(["t", [[{1: "x"}, b""]]]), "a damaged bundle"),
    "three fields": (_packed(["t", [[{}, b"", 1]]]), "a damaged bundle"),
    "text is no UTF-8": (b"\x01\x92\xa1\xff\x91\x92\x80\xc4\x00", "a damaged bundle"),
    "a length beyond the end": (b"\x01\x92\xdb\xff\xff\xff\xff", "a damaged bundle"),
    "a list longer than memory": (b"\x01\x92\xa1t\xdd\xff\xff\xff\xff", "a damaged bundle"),
    "nested without end": (DEEP, "a damaged bundle"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_bundle_is_refused_with_a_reason(name: str) -> None:
    body, reason = MALFORMED[name]
    with pytest.raises(ValueError, match=reason):
        unpack(body)


def test_so_many_go_together_and_the_rest_follows() -> None:
    assert carried(*map(message, "abcdefg")) == [("a", "b", "c"), ("d", "e", "f"), ("g",)]


def test_one_alone_is_published_as_it_is() -> None:
    one = message("a")
    ((written, _),) = carriers([one])
    assert written is one


def test_messages_of_different_places_do_not_keep_each_other_apart() -> None:
    burst = [message("a"), message("b", routing_key="slow", bundle_size=1), message("c"), message("d", exchange="")]
    assert sorted(carried(*burst)) == [("a", "c"), ("b",), ("d",)]


def test_what_travels_alone_keeps_its_place_in_the_order() -> None:
    burst = [message("a"), message("b"), message("marker", bundle_size=1), message("c"), message("d")]
    assert carried(*burst) == [("a", "b"), ("marker",), ("c", "d")]


def test_another_content_type_and_odd_headers_are_not_mixed_in() -> None:
    burst = [message("a"), message("b", content_type="text/plain"), message("c"), message("d", headers={"x": [1]})]
    assert carried(*burst) == [("a",), ("b",), ("c",), ("d",)]


@pytest.mark.parametrize("odd", [2**65, "\ud800"])
def test_a_header_that_no_bundle_can_carry_is_left_to_amqp(odd: object) -> None:
    assert carried(message("a"), message("b", headers={"odd": odd})) == [("a",), ("b",)]


def test_large_messages_travel_alone() -> None:
    sizes = {"a": 40_000, "b": 40_000, "c": 20_000, "d": 300_000, "e": 10, "f": 10}
    burst = [message(name, body=b"x" * size) for name, size in sizes.items()]
    assert carried(*burst) == [("a",), ("b", "c"), ("d",), ("e", "f")]
