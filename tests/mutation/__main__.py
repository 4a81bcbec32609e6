"""How many small faults would the tests find? A score for each package, from a random sample of mutants.

    python -m tests.mutation                                     every package, 20 mutants each (about half an hour)
    python -m tests.mutation --packages messaging/gate --sample 40 --seed 3
    python -m tests.mutation --again var/mutation/….json --tests tests/unit/core       survivors, with other tests

The first run measures which test executes which line (some minutes; --measure does it anew). Each mutant is then judged
by the fast tests on SQLite that execute its line, without RabbitMQ and tests marked slow or whole: what only these
would find counts as survived.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections import Counter
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path

from tests.mutation.mutants import Mutant, sampled
from tests.mutation.selection import Selection, measure
from tests.mutation.trials import KILLED, NOT_RUN, OUTCOMES, SURVIVED, TIMED_OUT, Copies, Verdict, Work

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "var" / "mutation"
PACKAGES = tuple(
    f"messaging/{name}" for name in ("core", "gate", "outcomes", "sending", "receiving", "recovery", "security")
)
TEST_SECONDS = 60.0  # allowed for what --tests names


def main(arguments: list[str] | None = None) -> None:
    """Judge, print the table, write JSON."""
    given = _parser().parse_args(arguments)
    os.nice(given.nice)
    commit = _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "messaging") else "")
    work = _again(given.again, given.tests) if given.again else _sample(given)
    print(f"{len(work)} mutants of {commit}, seed {given.seed}", flush=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}.json"
    verdicts: list[Verdict] = []

    def told(verdict: Verdict) -> None:
        verdicts.append(verdict)
        mutant = verdict.mutant
        print(
            f"{len(verdicts)}/{len(work)} {verdict.outcome} {mutant.path}:{mutant.line} {mutant.operator}", flush=True
        )
        if verdict.outcome in (SURVIVED, NOT_RUN):
            print(mutant.diff, flush=True)
        write(in_doubt="")

    def write(in_doubt: str) -> None:
        rows = [verdict.row() for verdict in verdicts]
        content = {"commit": commit, "seed": given.seed, "in_doubt": in_doubt, "mutants": rows}
        file.write_text(json.dumps(content, indent=1))  # after each: a run that is ended early leaves what it found

    with Copies(ROOT, given.processes).made() as copies:
        copies.judge_all(work, told)
        wrong = copies.failing([verdict.killer for verdict in verdicts if verdict.outcome == KILLED])
    write(in_doubt=wrong)
    print("\n".join(tabulated(verdicts)))
    if wrong:
        print(f"Fails without a mutant too, so that what it killed is in doubt: {wrong}")
    print(f"written: {file}")


def tabulated(verdicts: list[Verdict]) -> list[str]:
    """A table in Markdown; the score is the share of all mutants that were killed or timed out."""
    lines = [f"| package | mutants | {' | '.join(OUTCOMES)} | score |", f"|---|{'---|' * (len(OUTCOMES) + 2)}"]
    packages = sorted({_package(verdict) for verdict in verdicts})
    for package in [*packages, "all"]:
        counts = Counter(verdict.outcome for verdict in verdicts if package in ("all", _package(verdict)))
        found = counts[KILLED] + counts[TIMED_OUT]
        numbers = " | ".join(str(counts[outcome]) for outcome in OUTCOMES)
        lines.append(f"| {package} | {counts.total()} | {numbers} | {found / max(counts.total(), 1):.0%} |")
    return lines


def _package(verdict: Verdict) -> str:
    return "/".join(verdict.mutant.path.split("/")[:2])


def _sample(given: argparse.Namespace) -> Work:
    folder = FOLDER / "map"
    if given.measure or not (folder / "coverage").exists():
        print(f"measuring which test executes which line; output in {folder}/pytest.out", flush=True)
        measure(folder, ROOT)
    selection = Selection(folder, ROOT)
    packages = [sampled(ROOT, package, given.sample, given.seed) for package in given.packages]
    mutants = [mutant for row in zip_longest(*packages) for mutant in row if mutant is not None]  # of each in turn
    return [(mutant, selection.tests(mutant, given.budget)) for mutant in mutants]


def _again(file: Path, tests: list[str]) -> Work:
    rows = json.loads(file.read_text())["mutants"]
    survivors = [Mutant(**row["mutant"]) for row in rows if row["outcome"] in (SURVIVED, NOT_RUN)]
    return [(mutant, [(test, TEST_SECONDS) for test in tests]) for mutant in survivors]


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", nargs="+", default=PACKAGES, metavar="FOLDER", help=" ".join(PACKAGES))
    parser.add_argument("--sample", type=int, default=20, metavar="N", help="mutants of each package (20)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed and code give the same mutants (1)")
    parser.add_argument("--processes", type=int, default=2, help="mutants judged at once (2)")
    parser.add_argument("--nice", type=int, default=15, help="how much the tests step back for others (15)")
    parser.add_argument("--budget", type=float, default=30, metavar="SECONDS", help="of tests a mutant (30)")
    parser.add_argument("--measure", action="store_true", help="measure anew which test executes which line")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="judge the survivors of an earlier run, with --tests"
    )
    parser.add_argument("--tests", nargs="+", default=[], help="for --again: files or ids of tests")
    return parser


if __name__ == "__main__":
    main()
