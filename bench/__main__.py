"""``python -m bench``: measure, show tables, keep the figures in var/bench/*.json and a plot beside them.

Each workload has a file of its own, so that runs add up: the report shows what is known of all of them, and of each
when it was measured, and under which load. QUICK=1 in the environment runs the relay race only.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import venv
from bench.ground import BenchError, BenchServers
from bench.paths import ROOT
from bench.progress import Rounds, fail, say
from bench.report import write
from bench.results import Figures, Record, begun, load_records, save
from bench.systems.autogen import Autogen
from bench.systems.base import System
from bench.systems.celery import CeleryWithResults, PlainCelery
from bench.systems.dbos import DbosMessages, DbosSteps
from bench.systems.dramatiq import Dramatiq
from bench.systems.limit import Limit
from bench.systems.nexus import CheckedNexus, NexusSystem, UnsignedNexus
from bench.systems.procrastinate import Procrastinate
from bench.targets import verdicts
from bench.workloads import embedded, fan_out, latency, relay_race, scale, stages, view
from messaging.testing.servers.nodes import NodeError

OUTPUT = ROOT / "var" / "bench"
RACES: dict[str, tuple[type[System], ...]] = {
    "relay-race": (NexusSystem, PlainCelery, Dramatiq, Limit),
    "conversation": (NexusSystem, PlainCelery),
    "signatures": (NexusSystem, UnsignedNexus),
    "checks": (CheckedNexus, PlainCelery),
    "peers": (NexusSystem, CeleryWithResults, Procrastinate, DbosSteps, DbosMessages, Autogen),
}
CONVERSATION_LEGS = 500
OTHERS = ("view", "fan-out", "latency", "log", "memory", "embedded", "workers", "workflows", "stages")
WORKLOADS = (*RACES, *OTHERS)
SECONDS_ALONE = 320
SECONDS = {
    "relay-race": 200,
    "conversation": 90,
    "signatures": 80,
    "checks": 110,
    "peers": 160,
    "view": 90,
    "fan-out": 140,
    "latency": 170,
    "log": 120,
}
"""For the rounds of each workload among others; the rest is measured once. All together take 25 minutes at most where
the machine is calm enough for one round within them."""


def main() -> int:
    """Run what the command line asks for; 1 when a check or a target failed."""
    arguments = _arguments()
    try:
        with BenchServers(venv.make_venv(), OUTPUT / "run") as ground:
            failed = _measure(ground, arguments)
    except (BenchError, NodeError) as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        fail("interrupted; the servers and workers are gone, what was complete is kept")
        return 130
    records = load_records(OUTPUT, WORKLOADS)
    print(f"\n{write(OUTPUT, records)}\n\nEverything is in {_shown(OUTPUT)}: *.json, report.txt and relay-race.svg.")
    for name in failed:
        fail(f"{name} failed; see above")
    missed = [verdict.what for verdict in verdicts(records) if not verdict.passed]
    if missed:
        fail(f"targets missed: {'; '.join(missed)}")
    return 1 if failed or missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Nexus and its peers on private servers.")
    parser.add_argument("--rounds", type=int, default=3, help="of what is compared, if there is time (3)")
    parser.add_argument(
        "--only",
        type=_names(WORKLOADS),
        default=["relay-race"] if os.environ.get("QUICK") else list(WORKLOADS),
        help=f"some of: {', '.join(WORKLOADS)}",
    )
    names = tuple(dict.fromkeys(system.name for systems in RACES.values() for system in systems))
    parser.add_argument("--systems", type=_names(names), default=names, help=f"of the races: {', '.join(names)}")
    parser.add_argument("--log", type=_numbers, default=[1_000_000], help="messages in a long log (1_000_000)")
    parser.add_argument("--memory", type=int, default=200_000, help="messages for the workers' memory (200_000)")
    return parser.parse_args()


def _names(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        unknown = set(text.split(",")) - set(known)
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
        return text.split(",")

    return read


def _numbers(text: str) -> list[int]:
    return [int(number.replace("_", "")) for number in text.split(",")]


def _measure(ground: BenchServers, arguments: argparse.Namespace) -> list[str]:
    """Run the workloads one after the other; return the names of those that failed."""
    failed = []
    for name in arguments.only:
        say(f"— {name} —")
        about, began = begun(), time.monotonic()
        try:
            figures, notes = _figures(ground, name, arguments)
        except BenchError as error:
            fail(f"{name}: {error}")
            failed.append(name)
            continue
        about["load"] = [*about["load"], os.getloadavg()[0]]
        record = Record(workload=name, figures=figures, seconds=time.monotonic() - began, notes=notes, **about)
        save(OUTPUT, name, record)
        write(OUTPUT, load_records(OUTPUT, WORKLOADS))  # what was measured so far survives an interruption
        say(f"{name} took {record.seconds:.0f} s")
    return failed


def _figures(ground: BenchServers, name: str, arguments: argparse.Namespace) -> tuple[Figures, str]:
    """Run one workload; figures, and words for the reader."""
    alone = len(arguments.only) == 1
    rounds = Rounds(arguments.rounds, SECONDS_ALONE if alone else SECONDS.get(name, 0))
    once = Rounds(1, 0)
    conversations, legs = relay_race.CONVERSATIONS, 2 * relay_race.LEGS
    if name in RACES:
        systems = [system for system in RACES[name] if system.name in arguments.systems]
        size = {"conversations": 1, "legs": CONVERSATION_LEGS} if name == "conversation" else {}
        return relay_race.run(ground, systems, rounds, **size), relay_race.settings_of(systems)
    match name:
        case "view":
            return view.run(ground, rounds), ""
        case "fan-out":
            return fan_out.run(ground, rounds), ""
        case "latency":
            return latency.run(ground, rounds), ""
        case "log":
            return scale.log_sizes(ground, arguments.log, rounds, conversations, legs), ""
        case "memory":
            return scale.memory(ground, arguments.memory), ""
        case "embedded":
            return embedded.run(ground, once), ""
        case "workers":
            return scale.worker_counts(ground, once, conversations, legs), ""
        case "workflows":
            return scale.open_workflows(ground, once), ""
        case _:
            found = stages.run(ground)
            return found.figures(), found.statements_table()


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
