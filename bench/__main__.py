"""``python -m bench``: measure, show a table and a plot, keep the figures in var/bench/*.json."""

from __future__ import annotations

import argparse
import sys

from bench import results, venv
from bench.ground import BenchError, Ground
from bench.progress import fail, say
from bench.systems.celery import PlainCelery
from bench.systems.limit import Limit
from bench.systems.nexus import Nexus
from bench.workloads import relay_race
from tests.support.nodes import NodeError

OUTPUT = venv.ROOT / "var" / "bench"
QUICK = (Nexus, PlainCelery, Limit)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    try:
        python = venv.make_venv()
        with Ground(python, OUTPUT / "run") as ground:
            rates = relay_race.run(ground, QUICK, arguments.rounds)
    except (BenchError, NodeError) as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        fail("interrupted; the servers and workers are gone")
        return 130
    results.save(OUTPUT, "relay-race", relay_race.as_json(rates, QUICK))
    for name in rates:
        say(f"{name}: {results.Spread.of(rates[name])}; nexus / {name}: {results.ratios(rates['nexus'], rates[name])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
