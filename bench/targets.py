"""What the figures are held against: ratios within one run of a workload, round by round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.results import Record, Spread, ratios, show


@dataclass(frozen=True, slots=True)
class Target:
    """One figure against another of the same round.

    Args:
        workload: in which both are measured.
        what: is compared, for the reader.
        ours: what was measured, and which figure of it.
        theirs: the same; None where the figure itself is held against the value.
        value: the least ratio, or the greatest where ``at_most``.
        at_most: whether less is better.
    """

    workload: str
    what: str
    ours: tuple[str, str]
    theirs: tuple[str, str] | None
    value: float
    at_most: bool = False

    def verdict(self, record: Record) -> TargetVerdict | None:
        """What a run says; None where it measured something else."""
        ours = record.values(*self.ours)
        theirs = record.values(*self.theirs) if self.theirs is not None else [1.0] * len(ours)
        if not ours or len(ours) != len(theirs):
            return None
        return TargetVerdict(self.what, self.value, ratios(ours, theirs), self.at_most)


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """A target and what was measured: the ratio of each round, least, median, greatest."""

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

    def as_json(self) -> Mapping[str, object]:
        """For other programs; ``measured`` is the median."""
        return {
            "what": self.what,
            "target": self.target,
            "at_most": self.at_most,
            "measured": self.measured.median,
            "least": self.measured.minimum,
            "greatest": self.measured.maximum,
            "passed": self.passed,
        }


def _race(workload: str, ours: str, theirs: str, value: float) -> list[Target]:
    """By rate and by processor time.

    A system whose messages pass between many processes suffers more from others on the machine than one that works in
    batches, which would flatter Nexus: so both ratios have to pass.
    """
    what = f"{workload}, {ours} / {theirs}"
    return [
        Target(workload, f"{what}, messages/s", (ours, "messages/s"), (theirs, "messages/s"), value),
        Target(workload, f"{what}, by processor time", (ours, "capacity"), (theirs, "capacity"), value),
    ]


def _latency(rate: int, figure: str) -> Target:
    ours, theirs = (f"nexus at {rate}/s", figure), (f"celery at {rate}/s", figure)
    return Target("latency", f"latency at {rate}/s, {figure.split()[0]}, nexus / celery", ours, theirs, 1.0, True)


def targets(log_sizes: Iterable[int] = (1_000_000, 10_000_000)) -> list[Target]:
    """All of them, in the order of the report."""
    confirmed = ("celery apply_async", "confirmed/s")
    delivered = ("celery, 100 tasks", "deliveries/s")
    return [
        *_race("relay-race", "nexus", "celery", 7.0),
        *_race("relay-race", "nexus", "dramatiq", 2.0),
        *_race("relay-race", "nexus", "limit", 0.8),
        *_race("signatures", "nexus", "nexus-unsigned", 0.75),
        *_race("checks", "nexus-checked", "celery", 4.0),
        *_race("peers", "nexus", "celery-results", 10.0),
        *_race("peers", "nexus", "procrastinate", 8.0),
        *_race("peers", "nexus", "dbos-steps", 8.0),
        *_race("peers", "nexus", "dbos-messages", 40.0),
        *_race("conversation", "nexus", "celery", 1.5)[:1],
        Target("fan-out", "send / apply_async, confirmed", ("nexus send", "confirmed/s"), confirmed, 1.5),
        Target("fan-out", "send_many / apply_async, confirmed", ("nexus send_many", "confirmed/s"), confirmed, 15.0),
        Target("fan-out", "group of 100 / 100 tasks", ("nexus, group of 100", "deliveries/s"), delivered, 3.0),
        Target(
            "view",
            "send in a view / delay_on_commit",
            ("nexus send", "requests/s"),
            ("celery delay_on_commit", "requests/s"),
            1.2,
        ),
        _latency(10, "p50 ms"),
        _latency(10, "p99 ms"),
        _latency(100, "p50 ms"),
        _latency(100, "p99 ms"),
        Target("latency", "at 500/s, seconds behind at the end", ("nexus at 500/s", "behind s"), None, 1.0, True),
        _latency(500, "p99 ms"),
        *(
            Target(
                "log",
                f"rate with {size:,} messages in the log / empty",
                (f"{size:,} in the log", "messages/s"),
                (f"empty, beside {size:,}", "messages/s"),
                0.95,
            )
            for size in log_sizes
        ),
        Target(
            "memory",
            "worker memory at the end / after 10,000 messages",
            ("workers and relay", "MB at the end"),
            ("workers and relay", "MB after 10,000"),
            1.05,
            True,
        ),
    ]


def verdicts(records: Iterable[Record]) -> list[TargetVerdict]:
    """Every target about which something was measured."""
    known = {record.workload: record for record in records}
    found = [target.verdict(known[target.workload]) for target in targets() if target.workload in known]
    return [verdict for verdict in found if verdict is not None]
