"""``python -m bench``: measure, show tables, keep the figures in var/bench/*.json and a plot beside them.

QUICK=1 in the environment runs the relay race of NexusSystem, plain Celery and the limit only.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bench import venv
from bench.ground import BenchError, BenchServers
from bench.paths import ROOT
from bench.progress import fail, say
from bench.report import Measured, conditions, write
from bench.results import save
from bench.systems.autogen import Autogen
from bench.systems.base import System
from bench.systems.celery import CeleryWithResults, PlainCelery
from bench.systems.dbos import DbosMessages, DbosSteps
from bench.systems.dramatiq import Dramatiq
from bench.systems.limit import Limit
from bench.systems.nexus import NexusSystem, UnsignedNexus
from bench.systems.procrastinate import Procrastinate
from bench.workloads import embedded, fan_out, latency, relay_race, scale, stages
from messaging.testing.servers.nodes import NodeError

OUTPUT = ROOT / "var" / "bench"
QUICK: tuple[type[System], ...] = (NexusSystem, PlainCelery, Limit)
ALL: tuple[type[System], ...] = (
    *QUICK,
    UnsignedNexus,
    CeleryWithResults,
    Dramatiq,
    Procrastinate,
    DbosSteps,
    DbosMessages,
    Autogen,
)
WORKLOADS = ("relay-race", "fan-out", "latency", "stages", "embedded", "workers", "workflows", "memory", "log")


def main() -> int:
    """Run what the command line asks for; 1 when a check or a target failed."""
    arguments = _arguments()
    systems = [system for system in ALL if system.name in arguments.systems]
    measured = Measured()
    try:
        save(OUTPUT, "conditions", conditions())
        with BenchServers(venv.make_venv(), OUTPUT / "run") as ground:
            failed = _measure(ground, measured, systems, arguments)
    except (BenchError, NodeError) as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        fail("interrupted; the servers and workers are gone")
        return 130
    text = write(OUTPUT, measured, systems)
    (OUTPUT / "report.txt").write_text(text + "\n")
    print(f"\n{text}\n\nEverything is in {_shown(OUTPUT)}: *.json, report.txt and relay-race.svg.")
    for name in failed:
        fail(f"{name} failed; see above")
    missed = [verdict.what for verdict in measured.verdicts() if not verdict.passed]
    if missed:
        fail(f"targets missed: {'; '.join(missed)}")
    return 1 if failed or missed else 0


def _arguments() -> argparse.Namespace:
    quick = bool(os.environ.get("QUICK"))
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Nexus and its peers on private servers.")
    parser.add_argument("--rounds", type=int, default=3, help="of everything that is compared (default 3)")
    parser.add_argument(
        "--only",
        type=_names(WORKLOADS),
        default=["relay-race"] if quick else list(WORKLOADS),
        help=", ".join(WORKLOADS),
    )
    names = tuple(system.name for system in ALL)
    parser.add_argument(
        "--systems",
        type=_names(names),
        default=[system.name for system in (QUICK if quick else ALL)],
        help=f"of the relay race: {', '.join(names)}",
    )
    parser.set_defaults(quick=quick)
    parser.add_argument("--log", type=_numbers, default=[1_000_000, 10_000_000], help="messages in a long log")
    parser.add_argument("--memory", type=int, default=1_000_000, help="messages for the workers' memory")
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


def _measure(
    ground: BenchServers, measured: Measured, systems: list[type[System]], arguments: argparse.Namespace
) -> list[str]:
    """Run the workloads one after the other; return the names of those that failed."""
    rounds = arguments.rounds
    conversations, legs = relay_race.CONVERSATIONS, 4 * relay_race.LEGS
    steps: dict[str, Callable[[], None]] = {
        "relay-race": lambda: _set(measured, "races", relay_race.run(ground, systems, rounds, quick=arguments.quick)),
        "fan-out": lambda: _set(measured, "fan_out", fan_out.run(ground, rounds)),
        "latency": lambda: _set(measured, "latency", latency.run(ground, rounds)),
        "stages": lambda: _set(measured, "stages", stages.run(ground)),
        "embedded": lambda: _set(measured, "embedded", embedded.run(ground, rounds)),
        "workers": lambda: _set(measured, "worker_counts", scale.worker_counts(ground, rounds, conversations, legs)),
        "workflows": lambda: _set(measured, "open_workflows", scale.open_workflows(ground, rounds)),
        "memory": lambda: _set(measured, "memory", scale.memory(ground, arguments.memory)),
        "log": lambda: _set(measured, "log_sizes", scale.log_sizes(ground, arguments.log, rounds, conversations, legs)),
    }
    failed = []
    for name in arguments.only:
        say(f"— {name} —")
        try:
            steps[name]()
        except BenchError as error:
            fail(f"{name}: {error}")
            failed.append(name)
        write(OUTPUT, measured, systems)  # what was measured so far survives an interruption
    return failed


def _set(measured: Measured, name: str, value: object) -> None:
    setattr(measured, name, value)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
