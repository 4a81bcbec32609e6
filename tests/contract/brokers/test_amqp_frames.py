"""The frames that we write and read ourselves, against py-amqp's, and how few of them acknowledge a batch."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from amqp.serialization import dumps

from messaging.brokers import Subscription
from messaging.brokers.rabbitmq import frames
from messaging.brokers.rabbitmq.consuming import Feed
from messaging.brokers.rabbitmq.frames import FrameDelivery, decode_table, encode_acknowledge, encode_table
from messaging.log import StoredDelivery
from messaging.transport import wire

HEADERS: list[dict[str, Any]] = [
    {},
    {"task": "messaging.deliver", "id": "ä€😀", "empty": ""},
    {"n": 1, "negative": -1, "largest": 2**31 - 1, "beyond": 2**31, "far": -(2**40)},
    {"text": "x", "flag": True, "none": None, "nested": {"list": [1, "a", {"b": False}]}, "last": "y"},
]


@pytest.mark.parametrize("headers", HEADERS)
def test_headers_are_encoded_as_py_amqp_does_and_decoded_again(headers: dict[str, Any]) -> None:
    encoded = encode_table(headers)
    assert encoded == dumps("F", [headers])
    assert decode_table(b"??" + encoded + b"??", 2) == headers


def test_the_headers_of_every_message_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's protocol has headers without a value, which sent each message down py-amqp's codec."""

    def long_way(*_: Any) -> Any:
        raise AssertionError("the long way")

    monkeypatch.setattr(frames, "dumps", long_way)
    monkeypatch.setattr(frames, "loads", long_way)
    for message in (
        wire.marker_message("transactional", datetime(2026, 1, 1, tzinfo=UTC)),
        wire.delivery_message(_stored()),
    ):
        assert None in message.headers.values()
        assert decode_table(encode_table(message.headers), 0) == message.headers


def _stored() -> StoredDelivery:
    return StoredDelivery(id=uuid4(), workflow_id=uuid4(), queue="transactional", body=b"{}", signature="")


def test_what_amqp_cannot_carry_is_refused() -> None:
    with pytest.raises(ValueError, match=r"header 'object'"):
        encode_table({"object": object()})


def _feed(tags: range) -> Feed:
    feed = Feed(None, Subscription(queue="q", prefetch=100), SimpleNamespace(channel_id=7))  # type: ignore[arg-type]
    feed.unacknowledged.update(dict.fromkeys(tags))
    return feed


@pytest.mark.parametrize(
    ("handled", "frames"),
    [
        ([1, 2, 3, 4, 5], [(5, True)]),
        ([3, 1, 2], [(3, True)]),
        ([1, 2, 4], [(2, True), (4, False)]),
        ([2, 3], [(2, False), (3, False)]),
        ([5], [(5, False)]),
        ([1, 1, 99], [(1, True)]),
        ([], []),
    ],
)
def test_one_frame_acknowledges_all_before_which_nothing_is_open(
    handled: list[int], frames: list[tuple[int, bool]]
) -> None:
    feed = _feed(range(1, 6))
    expected = [encode_acknowledge(7, tag, multiple=multiple) for tag, multiple in frames]
    assert feed.acknowledge(handled) == expected
    assert set(feed.unacknowledged) == set(range(1, 6)) - set(handled)
    assert feed.acknowledge(handled) == [], "a second acknowledgement would close the channel"


def test_a_body_in_several_frames_is_put_together() -> None:
    delivery = FrameDelivery(b"\x00\x3c\x00\x3c\x03tag" + (9).to_bytes(8, "big") + b"\x01\x00\x00")
    assert (delivery.consumer_tag, delivery.tag, delivery.redelivered) == ("tag", 9, True)
    header = b"\x00\x3c\x00\x00" + (7).to_bytes(8, "big") + b"\x00\x00"
    assert not delivery.add_frame(2, header)
    assert [delivery.add_frame(3, piece) for piece in (b"abc", b"def", b"g")] == [False, False, True]
    assert delivery.body == b"abcdefg"
