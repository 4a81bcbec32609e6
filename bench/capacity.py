"""Capacity: ``python -m bench.capacity`` measures the rate at rising numbers of conversations, and fits a model to it.

The model is Gunther's universal scalability law (N. J. Gunther, *Guerrilla Capacity Planning*, 2007, ch. 4):

    rate(n) = one·n / (1 + serial·(n - 1) + crosstalk·n·(n - 1))

of n conversations at once: the rate of one, the share of its work that is done by one at a time, and what each has to
agree upon with each. It is checked at twice the largest number that it was fitted to. What a message costs of
processors and disk says what a given rate needs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg

from bench import venv
from bench.ground import BenchError, BenchServers
from bench.paths import ROOT
from bench.progress import fail, say
from bench.systems.nexus import NexusSystem

OUTPUT = ROOT / "var" / "capacity"
FITTED = (1, 2, 4, 8, 16, 32, 64)
"""Conversations at once that the model is fitted to; it is checked at twice the last."""
MESSAGES = 12_000
"""Of each race, about."""
DAY = 86_400


class Curve(NamedTuple):
    """The universal scalability law, fitted.

    Args:
        one: messages a second of one conversation (lambda).
        serial: from 0 (sigma).
        crosstalk: from 0 (kappa).
    """

    one: float
    serial: float
    crosstalk: float

    def rate(self, conversations: int) -> float:
        """Messages a second of so many conversations at once."""
        n = conversations
        return self.one * n / (1 + self.serial * (n - 1) + self.crosstalk * n * (n - 1))


def fit(rates: Mapping[int, float]) -> Curve:
    """Fit the curve by least squares of relative errors: n / rate is linear in n - 1 and n·(n - 1).

    Args:
        rates: conversations at once → messages a second; three or more.

    Raises:
        ValueError: fewer than three.
    """
    if len(rates) < 3:
        raise ValueError(f"three numbers of conversations are needed, not {len(rates)}")
    points = [((1.0, n - 1.0, n * (n - 1.0)), n / rate) for n, rate in sorted(rates.items())]
    for terms in ((0, 1, 2), (0, 1), (0,)):  # a coefficient below 0 has no meaning: the model is fitted without it
        solved = _least_squares([([x[k] / y for k in terms], 1.0) for x, y in points])
        if all(value >= 0 for value in solved):
            a, b, c = [*solved, 0.0, 0.0][:3]
            return Curve(1 / a, b / a, c / a)
    raise ValueError("no curve fits")  # pragma: no cover - the last one is a mean of positive numbers


def _least_squares(rows: Sequence[tuple[list[float], float]]) -> list[float]:
    """The coefficients that come nearest, by the normal equations and Gauss's elimination."""
    size = len(rows[0][0])
    matrix = [
        [sum(x[i] * x[j] for x, _ in rows) for j in range(size)] + [sum(x[i] * y for x, y in rows)] for i in range(size)
    ]
    for i in range(size):
        pivot = max(range(i, size), key=lambda row: abs(matrix[row][i]))
        matrix[i], matrix[pivot] = matrix[pivot], matrix[i]
        for row in range(size):
            if row != i:
                factor = matrix[row][i] / matrix[i][i]
                matrix[row] = [value - factor * above for value, above in zip(matrix[row], matrix[i], strict=True)]
    return [matrix[i][size] / matrix[i][i] for i in range(size)]


def measure(ground: BenchServers) -> dict[str, Any]:
    """Race with more and more conversations, fit, and check the model at twice the largest number.

    Raises:
        BenchError: a race went wrong.
    """
    rates: dict[int, float] = {}
    used: dict[str, float] = {}
    system = NexusSystem(ground, "capacity")
    try:
        system.start()
        system.warm_up()
        first = 0
        before = _written(system.database_url)
        for conversations in (*FITTED, 2 * FITTED[-1]):
            race = system.race(conversations, max(2, MESSAGES // conversations), first=first)
            first += conversations
            rates[conversations], used = race.rate, race.used.figures(race.messages)
            say(f"{conversations:>4} conversations: {race.rate:>7,.0f} messages/s")
        after = _written(system.database_url)
    finally:
        system.stop()
    largest = 2 * FITTED[-1]
    curve = fit({count: rate for count, rate in rates.items() if count != largest})
    messages = after["messages"] - before["messages"]
    foreseen = curve.rate(largest)
    return {
        "rates": {str(count): round(rate) for count, rate in rates.items()},
        "curve": {name: round(value, 6) for name, value in curve._asdict().items()},
        "foreseen": round(foreseen),
        "measured": round(rates[largest]),
        "error": round(foreseen / rates[largest] - 1, 3),
        "processors": os.cpu_count(),
        "µs": {name.removesuffix(" µs"): round(value, 1) for name, value in used.items() if name.endswith(" µs")},
        "others": round(used["others"], 2),
        "bytes": {
            what: round((after[what] - before[what]) / messages) for what in ("tables and indexes", "write-ahead log")
        },
    }


def _written(url: str) -> dict[str, int]:
    """What the database holds and has written so far: messages, and bytes."""
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        row = connection.execute(
            "SELECT (SELECT count(*) FROM nexus_message), pg_database_size(current_database()),"
            " pg_current_wal_lsn() - '0/0'::pg_lsn"
        ).fetchone()
    assert row is not None
    return {"messages": int(row[0]), "tables and indexes": int(row[1]), "write-ahead log": int(row[2])}


def needs(summary: Mapping[str, Any], per_day: float, peak: float) -> dict[str, float]:
    """What a number of messages a day needs, by what each of them costs.

    Args:
        summary: of ``measure``.
        per_day: messages a day.
        peak: how many times the mean the busiest hour has.

    Returns:
        Messages a second at the peak, processors by part at 70 % load, MB of write-ahead log a second at the peak, and
        TB that a day adds to the log.
    """
    rate = per_day / DAY * peak
    found = {"messages/s": rate}
    for part, microseconds in summary["µs"].items():
        found[f"processors, {part}"] = rate * microseconds / 1e6 / 0.7
    found["write-ahead log MB/s"] = rate * summary["bytes"]["write-ahead log"] / 1e6
    found["log TB/day"] = per_day * summary["bytes"]["tables and indexes"] / 1e12
    return {name: round(value, 2) for name, value in found.items()}


def main() -> int:
    """Measure, and print what was found; 1 when something went wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity", description=__doc__.split("\n", 1)[0] if __doc__ else ""
    )
    parser.add_argument("--per-day", type=float, default=1e9, help="messages a day to plan for (1e9)")
    parser.add_argument("--peak", type=float, default=3.0, help="the busiest hour against the mean (3)")
    arguments = parser.parse_args()
    try:
        with BenchServers(venv.make_venv(), OUTPUT / "run") as ground:
            summary = measure(ground)
    except BenchError as error:
        fail(str(error))
        return 1
    summary["plan"] = {"per day": arguments.per_day, "peak": arguments.peak}
    summary["plan"] |= needs(summary, arguments.per_day, arguments.peak)
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "summary.json").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
