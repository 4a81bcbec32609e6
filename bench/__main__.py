"""``python -m bench``: measure, show a table and a plot, keep the figures in var/bench/*.json."""

from __future__ import annotations

import argparse
import os
import sys

from bench import results, venv
from bench.ground import BenchError, Ground
from bench.progress import fail, say
from bench.systems.autogen import Autogen
from bench.systems.base import System
from bench.systems.celery import CeleryWithResults, PlainCelery
from bench.systems.dbos import DbosMessages, DbosSteps
from bench.systems.dramatiq import Dramatiq
from bench.systems.limit import Limit
from bench.systems.nexus import Nexus
from bench.systems.procrastinate import Procrastinate
from bench.workloads import relay_race
from tests.support.nodes import NodeError

OUTPUT = venv.ROOT / "var" / "bench"
QUICK: tuple[type[System], ...] = (Nexus, PlainCelery, Limit)
ALL: tuple[type[System], ...] = (
    *QUICK,
    CeleryWithResults,
    Dramatiq,
    Procrastinate,
    DbosSteps,
    DbosMessages,
    Autogen,
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", default="", help="names, joined by commas")
    arguments = parser.parse_args()
    systems = QUICK if os.environ.get("QUICK") else ALL
    if arguments.systems:
        systems = tuple(system for system in ALL if system.name in arguments.systems.split(","))
    try:
        python = venv.make_venv()
        with Ground(python, OUTPUT / "run") as ground:
            races = relay_race.run(ground, systems, arguments.rounds)
    except (BenchError, NodeError) as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        fail("interrupted; the servers and workers are gone")
        return 130
    results.save(OUTPUT, "relay-race", relay_race.as_json(races, systems))
    for name in races:
        say(f"{name}: {results.Spread.of(relay_race.rates(races[name]))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
