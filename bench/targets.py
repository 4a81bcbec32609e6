"""What the figures are held against: ratios within one run, round by round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.results import Spread, ratios, show
from bench.systems.base import Race
from bench.workloads.latency import Latency
from bench.workloads.scale import LogSize, Memory


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A target and what was measured.

    Args:
        what: is compared.
        target: the least ratio, or the greatest where ``at_most``.
        measured: the ratio of each round: least, median, greatest.
        at_most: whether less is better.
    """

    what: str
    target: float
    measured: Spread
    at_most: bool = False

    @property
    def passed(self) -> bool:
        """By the median."""
        return self.measured.median <= self.target if self.at_most else self.measured.median >= self.target

    def cells(self) -> list[str]:
        """For a table."""
        sign = "at most" if self.at_most else "at least"
        return [self.what, f"{sign} {show(self.target)}", str(self.measured), "PASS" if self.passed else "FAIL"]


RELAY_TARGETS = {
    "celery": 5.0,
    "celery-results": 10.0,
    "dramatiq": 1.7,
    "procrastinate": 8.0,
    "dbos-steps": 8.0,
    "dbos-messages": 40.0,
    "limit": 0.6,
}


def relay_verdicts(races: Mapping[str, Sequence[Race]]) -> list[TargetVerdict]:
    """Nexus against every system that raced with it.

    A system whose messages pass between many processes suffers more from others on the machine than one that works in
    batches, which would flatter Nexus: so both ratios have to pass, that of rates and that of processor time.
    """
    found = []
    ours = races.get("nexus", ())
    for name, target in RELAY_TARGETS.items():
        if not ours or not races.get(name):
            continue
        rates = ratios([race.rate for race in ours], [race.rate for race in races[name]])
        capacity = ratios([race.capacity for race in ours], [race.capacity for race in races[name]])
        found.append(TargetVerdict(f"relay race, nexus / {name}, messages/s", target, rates))
        found.append(TargetVerdict(f"relay race, nexus / {name}, by processor time", target, capacity))
    return found


def fan_out_verdicts(rates: Mapping[str, Sequence[float]]) -> list[TargetVerdict]:
    """Sending from one Django process. Counted until RabbitMQ confirmed the last message, as apply_async does."""
    theirs = rates["celery apply_async, confirmed"]
    return [
        TargetVerdict("send_many / apply_async", 4.0, ratios(rates["nexus send_many, confirmed"], theirs)),
        TargetVerdict("send / apply_async", 1.0, ratios(rates["nexus send, confirmed"], theirs)),
    ]


def latency_verdicts(measured: Sequence[Latency]) -> list[TargetVerdict]:
    """The 99th percentile at 100 messages a second."""
    p99 = {name: [m.p99 for m in measured if m.system == name and m.rate == 100] for name in ("nexus", "celery")}
    return [
        TargetVerdict("p99 latency at 100/s, nexus / celery", 1.5, ratios(p99["nexus"], p99["celery"]), at_most=True)
    ]


def scale_verdicts(sizes: Sequence[LogSize], memory: Memory | None) -> list[TargetVerdict]:
    """The rate with a long log, and the workers' memory after many messages."""
    verdicts = [
        TargetVerdict(f"rate with {size.messages:,} messages in the log / empty", 0.9, ratios(size.full, size.empty))
        for size in sizes
    ]
    if memory is not None:
        growth = memory.last / memory.first
        what = f"worker memory after {memory.messages:,} messages / after 10,000"
        verdicts.append(TargetVerdict(what, 1.1, Spread(growth, growth, growth), at_most=True))
    return verdicts
