"""Identifiers: their layout, their order, and the arithmetic between messages and deliveries."""

from __future__ import annotations

import os
import pickle
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from messaging.core import ids
from messaging.core.ids import MAX_DELIVERIES, delivery_id, message_id_of, new_message_id, uuid7, uuid7_floor


@pytest.mark.parametrize("make", [uuid7, new_message_id])
def test_layout_is_that_of_version_7(make: type) -> None:
    before = time.time_ns() // 1_000_000
    made = make()
    after = time.time_ns() // 1_000_000 + 1
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after
    same = uuid.UUID(str(made))
    assert (same, hash(same), str(same), same.is_safe) == (made, hash(made), str(made), made.is_safe)
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("make", [uuid7, new_message_id])
def test_later_ids_sort_later(make: type) -> None:
    made = [make() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)


def test_clock_set_back_a_little_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    readings = iter([now, now - 5_000_000_000, now - 5_000_000_000, now])
    monkeypatch.setattr(ids, "_last_tick", 0)
    monkeypatch.setattr(time, "time_ns", lambda: next(readings))
    made = [uuid7() for _ in range(4)]
    assert made == sorted(made)


def test_clock_set_back_far_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    readings = iter([now, now - 3600 * 1_000_000_000])
    monkeypatch.setattr(ids, "_last_tick", 0)
    monkeypatch.setattr(time, "time_ns", lambda: next(readings))
    first, second = uuid7(), uuid7()
    assert (first.int >> 80) - (second.int >> 80) == 3_600_000


def test_threads_never_get_the_same_id() -> None:
    made: list[uuid.UUID] = []
    threads = [threading.Thread(target=lambda: made.extend(new_message_id() for _ in range(5000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(made) == len(set(made)) == 20_000


def test_forked_process_gets_other_random_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    monkeypatch.setattr(ids, "_last_tick", 0)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, uuid7().bytes)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        theirs = uuid.UUID(bytes=pipe.read())
    ours = uuid7()
    assert ours.int >> 64 == theirs.int >> 64, "both were to be made at the same time"
    assert ours != theirs


def test_message_ids_leave_room_for_their_deliveries() -> None:
    message = new_message_id()
    deliveries = [delivery_id(message, number) for number in (1, 2, MAX_DELIVERIES)]
    assert message.int & 0xFFFF == 0
    assert [delivery.int - message.int for delivery in deliveries] == [1, 2, 65535]
    assert {message_id_of(delivery) for delivery in deliveries} == {message}
    assert {delivery.version for delivery in deliveries} == {7}
    assert max(deliveries) < new_message_id()


@pytest.mark.parametrize("number", [0, -1, MAX_DELIVERIES + 1])
def test_delivery_number_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 65535"):
        delivery_id(new_message_id(), number)


def test_delivery_of_a_delivery_is_refused() -> None:
    with pytest.raises(ValueError, match="is no message id"):
        delivery_id(delivery_id(new_message_id(), 1), 1)


def test_floor_is_the_least_id_of_its_millisecond() -> None:
    made = uuid7()
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=made.int >> 80)
    assert uuid7_floor(moment) <= made < uuid7_floor(moment + timedelta(milliseconds=1))
    assert uuid7_floor(moment + timedelta(microseconds=999)) == uuid7_floor(moment)
    assert uuid7_floor(moment).version == 7


def test_floor_before_1970_is_below_every_id() -> None:
    assert uuid7_floor(datetime.min.replace(tzinfo=UTC)) == uuid7_floor(datetime(1970, 1, 1, tzinfo=UTC)) < uuid7()


def test_floor_of_a_naive_datetime_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        uuid7_floor(datetime(2026, 1, 31))
