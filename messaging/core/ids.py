"""Identifiers: time-ordered UUIDs (version 7 of RFC 9562), and how deliveries are numbered below their message.

A message id is a UUIDv7 whose low 16 bits are zero. The n-th delivery of that message has the id ``message id + n``,
so all deliveries of a message stand next to each other in the primary key, and either id tells the other:

>>> message = new_message_id()
>>> third = delivery_id(message, 3)
>>> message_id_of(third) == message
True
>>> message < third < delivery_id(message, 4)
True
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID, SafeUUID

MAX_DELIVERIES = 0xFFFF
"""Most deliveries that one message can have."""

_VERSION_AND_VARIANT = 0x7 << 76 | 0b10 << 62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# Time is counted in ticks of 1/4096 ms: 48 bits of milliseconds and 12 bits of fraction (RFC 9562 §6.2, method 3).
_TICKS_IN_10_SECONDS = 10_000 * 4096
_last_tick = 0


def uuid7() -> UUID:
    """Return a new UUIDv7 that sorts after those which this process made before.

    Threads that race for the same 0.25 µs may get ids in either order; ids never repeat, not even across a fork,
    because 62 bits come from the operating system. A clock set back by less than 10 seconds does not break the order.
    """
    return _uuid_from_int(_timestamp_bits() | int.from_bytes(os.urandom(8)) >> 2)


def uuid7_at(moment: datetime) -> UUID:
    """Return a new UUIDv7 of a moment, which ``time_of`` tells to the millisecond. It sorts with no others.

    Args:
        moment: an aware datetime.

    Raises:
        ValueError: the datetime is naive.
    """
    return _uuid_from_int(uuid7_floor(moment).int | int.from_bytes(os.urandom(8)) >> 2)


def new_message_id() -> UUID:
    """Return a new UUIDv7 whose low 16 bits are zero: room for the ids of its deliveries."""
    return _uuid_from_int(_timestamp_bits() | int.from_bytes(os.urandom(8)) >> 18 << 16)


def delivery_id(message_id: UUID, number: int) -> UUID:
    """Return the id of a message's delivery.

    Args:
        message_id: from ``new_message_id``.
        number: 1 for the first recipient, at most ``MAX_DELIVERIES``.

    Raises:
        ValueError: the number is out of range, or the id is no message id.
    """
    if not 1 <= number <= MAX_DELIVERIES:
        raise ValueError(f"a delivery's number is from 1 to {MAX_DELIVERIES}, not {number}")
    if message_id.int & MAX_DELIVERIES:
        raise ValueError(f"{message_id} is no message id: its low 16 bits are not zero")
    return _uuid_from_int(message_id.int + number)


def message_id_of(delivery_id: UUID) -> UUID:
    """Return the id of the message that a delivery belongs to. A message id gives itself."""
    return _uuid_from_int(delivery_id.int & ~MAX_DELIVERIES)


def uuid7_floor(moment: datetime) -> UUID:
    """Return the least UUIDv7 of a moment's millisecond: ``id >= uuid7_floor(moment)`` finds what was made since.

    Args:
        moment: an aware datetime; anything before 1970 gives the least UUIDv7 of all.

    Raises:
        ValueError: the datetime is naive.
    """
    if moment.tzinfo is None:
        raise ValueError("uuid7_floor needs a datetime with a time zone")
    milliseconds = max(0, (moment - _EPOCH) // _MILLISECOND)
    return _uuid_from_int(milliseconds << 80 | _VERSION_AND_VARIANT)


def time_of(identifier: UUID) -> datetime:
    """Return when a UUIDv7 was made, to the millisecond."""
    return _EPOCH + (identifier.int >> 80) * _MILLISECOND


def _timestamp_bits() -> int:
    """The upper 64 bits and the variant: a tick later than the last one given out, laid around the version."""
    global _last_tick
    tick = time.time_ns() * 4096 // 1_000_000
    if tick <= _last_tick and _last_tick - tick < _TICKS_IN_10_SECONDS:
        tick = _last_tick + 1
    _last_tick = tick
    return (tick >> 12) << 80 | (tick & 0xFFF) << 64 | _VERSION_AND_VARIANT


def _uuid_from_int(value: int) -> UUID:
    """What ``UUID(int=value)`` does without its checks, which cost more than all the rest here."""
    made = object.__new__(UUID)
    object.__setattr__(made, "int", value)
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made
