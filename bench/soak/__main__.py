"""``python -m bench.soak``: see ``--help``. SECONDS, SEED, CLUSTER=1 and RATE of the environment are the defaults."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
from pathlib import Path

from bench.paths import ROOT
from bench.soak.faults import FAULTS
from bench.soak.options import SoakOptions
from bench.soak.run import soak


def main() -> int:
    """Run a soak; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("SECONDS", 60)))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or secrets.randbelow(1_000_000)))
    parser.add_argument("--rate", type=float, default=float(os.environ.get("RATE", 40)), help="messages sent a second")
    parser.add_argument(
        "--cluster", action="store_true", default=os.environ.get("CLUSTER") == "1", help="three brokers"
    )
    parser.add_argument("--recovery", type=float, default=60.0, help="most seconds to recover from a fault")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "soak", help="emptied; for logs and summary.json")
    parser.add_argument("--kind", action="append", choices=sorted(FAULTS), help="only this fault; may be given again")
    chosen = parser.parse_args()
    options = SoakOptions(
        seconds=chosen.seconds,
        seed=chosen.seed,
        folder=chosen.folder,
        brokers=3 if chosen.cluster else 1,
        rate=chosen.rate,
        recovery=chosen.recovery,
        kinds=tuple(chosen.kind or ()),
    )
    summary, wrong = soak(options)
    print(json.dumps(summary, indent=2))
    for problem in wrong:
        print(f"FAILED: {problem}")
    print(f"seed {options.seed}: {'failed' if wrong else 'passed'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
