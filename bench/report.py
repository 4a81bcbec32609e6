"""The table at the end, from what was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import plot, targets
from bench.results import Spread, save, show, table
from bench.systems.base import Race, System
from bench.workloads import relay_race
from bench.workloads.latency import Latency
from bench.workloads.scale import LogSize, Memory
from bench.workloads.stages import Stages


@dataclass(slots=True)
class Measured:
    """Everything of a run; what was not measured is empty."""

    races: dict[str, list[Race]] = field(default_factory=dict)
    fan_out: dict[str, list[float]] = field(default_factory=dict)
    latency: list[Latency] = field(default_factory=list)
    log_sizes: list[LogSize] = field(default_factory=list)
    open_workflows: dict[int, list[float]] = field(default_factory=dict)
    worker_counts: dict[int, list[float]] = field(default_factory=dict)
    embedded: dict[int, list[float]] = field(default_factory=dict)
    memory: Memory | None = None
    stages: Stages | None = None

    def verdicts(self) -> list[targets.TargetVerdict]:
        """Every target about which something was measured."""
        found = targets.relay_verdicts(self.races)
        if self.fan_out:
            found += targets.fan_out_verdicts(self.fan_out)
        if self.latency:
            found += targets.latency_verdicts(self.latency)
        return found + targets.scale_verdicts(self.log_sizes, self.memory)


def conditions() -> dict[str, str]:
    """What the figures depend on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    return {
        "processors": f"{os.cpu_count()} x {model}",
        "memory": f"{memory:.0f} GB",
        "python": platform.python_version(),
        "load before": " ".join(f"{value:.1f}" for value in os.getloadavg()),
    }


def write(output: Path, measured: Measured, systems: Sequence[type[System]]) -> str:
    """Write the JSON files and the plot; return the text of the tables."""
    raced = [system for system in systems if measured.races.get(system.name)]
    if raced:
        save(output, "relay-race", relay_race.as_json(measured.races, raced))
        _plot(output / "relay-race.svg", measured.races, raced)
    for name in ("fan_out", "latency", "log_sizes", "open_workflows", "worker_counts", "embedded", "memory", "stages"):
        value = getattr(measured, name)
        if value:
            save(output, name.replace("_", "-"), value)
    sections = [_relay_race(measured.races, raced)] if raced else []
    sections += [_rates(title, rates) for title, rates in _rate_tables(measured) if rates]
    if measured.latency:
        sections.append(_latency(measured.latency))
    if measured.memory is not None:
        memory = measured.memory
        sections.append(
            f"Worker memory: {memory.first:.0f} MB after 10,000 messages, {memory.last:.0f} MB after "
            f"{memory.messages:,}."
        )
    if measured.stages is not None:
        sections.append(_stages(measured.stages))
    verdicts = measured.verdicts()
    if verdicts:
        save(output, "targets", [{**asdict(verdict), "passed": verdict.passed} for verdict in verdicts])
        cells = [verdict.cells() for verdict in verdicts]
        sections.append(table(["Targets: ratio of each round", "target", "least .. median .. greatest", ""], cells))
    return "\n\n".join(sections)


def _rate_tables(measured: Measured) -> list[tuple[str, Mapping[str, Sequence[float]]]]:
    sizes: dict[str, Sequence[float]] = {}
    for size in measured.log_sizes:
        sizes[f"{size.messages:,} ({size.gigabytes:.1f} GB)"] = size.full
        sizes[f"empty, in turns with {size.messages:,}"] = size.empty
    counted = (
        ("Workflows at once", measured.open_workflows),
        ("Worker processes", measured.worker_counts),
        ("Embedded: worker processes", measured.embedded),
    )
    return [
        ("Fan-out", measured.fan_out),
        ("Messages in the log", sizes),
        *((title, {f"{count:,}": values for count, values in rates.items()}) for title, rates in counted),
    ]


def _relay_race(races: Mapping[str, Sequence[Race]], systems: Sequence[type[System]]) -> str:
    rows = []
    for system in sorted(systems, key=lambda item: -_spread(races[item.name]).median):
        measured = races[system.name]
        cpu = {part: Spread.of([race.cpu[part] for race in measured]).median for part in measured[0].cpu}
        rows.append(
            [
                system.name,
                str(_spread(measured)),
                show(Spread.of([race.capacity for race in measured]).median),
                *(f"{cpu[part]:,.0f}" for part in ("workers", "postgresql", "rabbitmq")),
                f"{Spread.of([race.others for race in measured]).median:.0%}",
                system.guarantee,
            ]
        )
    head = ["Relay race", "messages/s", "capacity", "workers", "postgresql", "rabbitmq", "others", "guarantee"]
    settings = "\n".join(f"  {system.name}: {'; '.join(system.settings)}" for system in systems)
    return (
        "Relay race: 200 conversations of 50 messages (dbos-messages: of 10; with QUICK=1 celery: of 15).\n"
        "workers, postgresql, rabbitmq: processor µs a message; others: what others used of the processors;\n"
        "capacity: messages/s if nobody else had used them, going by processor time\n"
        f"{table(head, rows)}\n\nSettings\n{settings}"
    )


def _spread(races: Sequence[Race]) -> Spread:
    return Spread.of(relay_race.rates(races))


def _rates(title: str, rates: Mapping[str, Sequence[float]]) -> str:
    return table([title, "messages/s"], [[name, str(Spread.of(values))] for name, values in rates.items()])


def _latency(measured: Sequence[Latency]) -> str:
    rows = []
    for system, rate in sorted({(item.system, item.rate) for item in measured}, key=lambda key: (key[1], key[0])):
        chosen = [item for item in measured if (item.system, item.rate) == (system, rate)]
        rows.append(
            [
                f"{system} at {rate:,}/s",
                *(str(Spread.of([getattr(item, name) for item in chosen])) for name in ("p50", "p99", "p999")),
                f"{chosen[0].messages:,}",
            ]
        )
    return table(["Latency, ms from due to handled", "p50", "p99", "p99.9", "messages a round"], rows)


def _stages(stages: Stages) -> str:
    rows = [[name, show(value)] for name, value in stages.stages.items()]
    statements = [[item.text, f"{item.calls:,}", show(item.microseconds)] for item in stages.statements]
    return (
        f"Where the time of a message goes ({show(stages.rate)} messages/s while sampled, "
        f"{show(stages.batch)} messages a transaction)\n"
        + table(["stage of the worker", "µs a message"], rows)
        + "\n\n"
        + table(["PostgreSQL's statements", "calls", "µs a message"], statements)
    )


def _plot(path: Path, races: Mapping[str, Sequence[Race]], systems: Sequence[type[System]]) -> None:
    bars = sorted(
        ((system.name, _spread(races[system.name]), system.guarantee) for system in systems),
        key=lambda bar: -bar[1].median,
    )
    plot.draw(path, "Relay race, messages per second (median, least to greatest)", bars, ours="nexus")
