"""rate, repetition: what a sender does over time. Both remember in this process only, a bounded number of senders."""

from __future__ import annotations

import hashlib
import json
import threading
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from messaging.security.verification.rules import verification_rule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction

MAX_REMEMBERED = 10_000
MAX_WINDOW = 10_000
_write = json.JSONEncoder(sort_keys=True, default=str).encode


@dataclass(slots=True)
class _OfOneSender:
    """The messages of one sender that are remembered, in the order in which they came."""

    order: deque[tuple[str, float, str]] = field(default_factory=deque)
    ids: set[str] = field(default_factory=set)
    times: dict[str, list[float]] = field(default_factory=dict)
    """Of each digest, in order: counting those of a time takes two searches, however many there are."""

    def add(self, identifier: str, at: float, digest: str) -> None:
        self.order.append((identifier, at, digest))
        self.ids.add(identifier)
        insort(self.times.setdefault(digest, []), at)

    def drop_first(self) -> None:
        identifier, at, digest = self.order.popleft()
        self.ids.discard(identifier)
        times = self.times[digest]
        del times[bisect_left(times, at)]
        if not times:
            del self.times[digest]


@dataclass(slots=True)
class RecentTraffic:
    """What was seen of each sender lately. Adding takes as long with a long window as with a short one.

    Args:
        window: messages that are remembered of one.
        limit: how many there may be.
        seconds: for how long each counts; 0 for ever.
    """

    window: int
    limit: int
    seconds: float = 0.0
    _seen: OrderedDict[tuple[str, ...], _OfOneSender] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, key: tuple[str, ...], subject: VerificationSubject, digest: str = "") -> int:
        """Remember a message, once whatever often it is delivered; return how many of the same digest count."""
        with self._lock:
            seen = self._seen.get(key)
            if seen is None:
                seen = self._seen[key] = _OfOneSender()
            self._seen.move_to_end(key)
            while len(self._seen) > MAX_REMEMBERED:
                self._seen.popitem(last=False)
            if not subject.id or subject.id not in seen.ids:
                if len(seen.order) >= self.window:
                    seen.drop_first()
                seen.add(subject.id, subject.at, digest)
            times = seen.times.get(digest, ())
            if not self.seconds:
                return len(times)
            return bisect_right(times, subject.at) - bisect_right(times, subject.at - self.seconds)


def _rate(settings: Mapping[str, Any]) -> RecentTraffic:
    return RecentTraffic(settings["messages"] + 1, settings["messages"], settings["seconds"])


@verification_rule(
    "rate",
    version=1,
    may=[VerdictAction.FLAG],
    schema={
        "type": "object",
        "properties": {
            "messages": {"type": "integer", "minimum": 1, "maximum": MAX_WINDOW},
            "seconds": {"type": "number", "exclusiveMinimum": 0},
        },
        "additionalProperties": False,
    },
    defaults={"messages": 600, "seconds": 60},
    prepare=_rate,
)
def rate(subject: VerificationSubject, recent: RecentTraffic) -> Objection | None:
    """More messages of one sender in a time than it may send, as this process sees it."""
    if recent.add((subject.sender,), subject) <= recent.limit:
        return None
    return Objection(VerdictAction.FLAG, f"more than {recent.limit} messages in {recent.seconds:g} s", kind="rate")


def _repetition(settings: Mapping[str, Any]) -> RecentTraffic:
    return RecentTraffic(settings["window"], settings["times"])


@verification_rule(
    "repetition",
    version=1,
    may=[VerdictAction.FLAG],
    schema={
        "type": "object",
        "properties": {
            "times": {"type": "integer", "minimum": 2, "maximum": 1_000},
            "window": {"type": "integer", "minimum": 3, "maximum": 1_000},
        },
        "additionalProperties": False,
    },
    defaults={"times": 5, "window": 24},
    prepare=_repetition,
)
def repetition(subject: VerificationSubject, recent: RecentTraffic) -> Objection | None:
    """The same message again and again, or two or three in turn: agents that talk in circles."""
    if not any(len(text) > 1 for _, text in subject.texts):
        return None  # pings and counters repeat by their nature
    written = _write([subject.type, subject.data])
    digest = hashlib.sha256(" ".join(written.split()).encode("utf-8", "surrogatepass")).hexdigest()
    count = recent.add((subject.workflow, subject.sender, subject.recipient), subject, digest)
    if count < recent.limit:
        return None
    return Objection(VerdictAction.FLAG, f"the same message for the {count}th time lately", kind="loop")
