"""What was measured: figures with their spread, kept as JSON, a file for each workload."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.paths import ROOT

Figures = dict[str, list[dict[str, float]]]
"""What was measured → one entry a round: name of the figure → value."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), statistics.median(values), max(values))

    def __str__(self) -> str:
        if self.minimum == self.maximum:
            return show(self.median)
        return f"{show(self.minimum)} .. {show(self.median)} .. {show(self.maximum)}"


@dataclass(frozen=True, slots=True)
class Record:
    """One run of a workload.

    Args:
        workload: its name.
        figures: what it found.
        made: when it began, in ISO 8601.
        seconds: how long it took.
        load: of the machine (1 minute), before and after.
        machine: processors, memory, Python.
        commit: of the code; with a + where files were changed since.
        notes: for the reader: how the systems were set up, tables of another form.
    """

    workload: str
    figures: Figures
    made: str
    seconds: float
    load: list[float]
    machine: str
    commit: str
    notes: str = ""

    def values(self, subject: str, figure: str) -> list[float]:
        """A figure of each round; empty when it was not measured."""
        return [entry[figure] for entry in self.figures.get(subject, ()) if figure in entry]


def show(value: float) -> str:
    """A figure with three significant digits, or whole."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Our figures divided by theirs, round by round: what disturbs a round disturbs both."""
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])


def save(folder: Path, name: str, value: Any) -> None:
    """Write ``<name>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, default=asdict)
    (folder / f"{name}.json").write_text(text + "\n")


def load_records(folder: Path, workloads: Sequence[str]) -> list[Record]:
    """The newest run of each workload, of whatever run of the bench; those never run are left out."""
    files = [folder / f"{name}.json" for name in workloads]
    return [Record(**json.loads(file.read_text())) for file in files if file.exists()]


def begun() -> dict[str, Any]:
    """What a record says about the time and place of its run, as far as it is known at the beginning."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": [os.getloadavg()[0]],
        "machine": f"{os.cpu_count()} x {model}, {memory:.0f} GB, Python {platform.python_version()}",
        "commit": _commit(),
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned text, the first column to the left."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = [
            cell.ljust(width) if column == 0 or not cell[:1].isdigit() else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join([first, *others]).rstrip()

    return "\n".join([line(head), "  ".join("─" * width for width in widths), *map(line, rows)])


def figures_table(title: str, figures: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A line for each thing that was measured: medians, with the least and the greatest."""
    names = list(dict.fromkeys(name for rounds in figures.values() for entry in rounds for name in entry))
    rows = []
    for subject, rounds in figures.items():
        found = {name: [entry[name] for entry in rounds if name in entry] for name in names}
        rows.append([subject, *(str(Spread.of(values)) if values else "" for values in found.values())])
    return table([title, *names], rows)
