"""The report: what is known of all workloads, from whichever runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import plot
from bench.results import Record, Spread, figures_table, save, table
from bench.targets import verdicts

RELAY_RACES = ("relay-race", "peers")


def write(output: Path, records: Sequence[Record]) -> str:
    """Write verdicts.json, report.txt and the plot; return the text of the report."""
    _plot(output / "relay-race.svg", [record for record in records if record.workload in RELAY_RACES])
    found = verdicts(records)
    save(output, "verdicts", [verdict.as_json() for verdict in found])
    sections = [_section(record) for record in records]
    if found:
        cells = [verdict.cells() for verdict in found]
        sections.append(table(["Targets: ratio of each round", "target", "least .. median .. greatest", ""], cells))
    text = "\n\n".join(sections)
    (output / "report.txt").write_text(text + "\n")
    return text


def _section(record: Record) -> str:
    rounds = max(map(len, record.figures.values()), default=0)
    made = (
        f"{rounds} rounds, made {record.made} in {record.seconds:.0f} s, commit {record.commit}, "
        f"load {' to '.join(f'{value:.1f}' for value in record.load)}, {record.machine}"
    )
    return "\n".join(
        part for part in (figures_table(record.workload, record.figures), f"  {made}", record.notes) if part
    )


def _plot(path: Path, records: Sequence[Record]) -> None:
    raced = {
        name: Spread.of(record.values(name, "messages/s"))
        for record in reversed(records)
        for name in record.figures
        if record.values(name, "messages/s")
    }
    bars = sorted(((name, spread, "") for name, spread in raced.items()), key=lambda bar: -bar[1].median)
    if bars:
        plot.draw(path, "Relay race, messages per second (median, least to greatest)", bars, ours="nexus")
