"""``python -m tests.attack.run``: make every attack with every payload, and write the table of results."""

from __future__ import annotations

import os
import sys
from collections import defaultdict

import pytest

from tests.attack.table import all_attacks, render, write
from tests.support.paths import ROOT


class Results:
    """Collects what came of each test; one of its cases that failed is a failure of all."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, set[str]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a phase of a case."""
        if report.when == "call" or report.outcome != "passed":
            self._seen[report.nodeid.partition("[")[0]].add(report.outcome)

    def by_test(self) -> dict[str, str]:
        """Test → its result; "skipped" only where every case was."""
        return {
            test: "failed" if "failed" in seen else "passed" if "passed" in seen else "skipped"
            for test, seen in self._seen.items()
        }


def main() -> int:
    """Run, write, and say how it ended."""
    os.environ["ATTACK_WHOLE"] = "1"
    os.chdir(ROOT)
    results = Results()
    tests = sorted({test for attack in all_attacks() for test in attack.tests})
    code = pytest.main(["-q", "--no-header", *sys.argv[1:], *tests], plugins=[results])
    write(render(results.by_test()))
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
