"""Which tests run which lines, and how long they take: from one run of the fast tests with coverage's contexts.

For a line that no measured test runs: the files of unit and contract tests that import its module, or else its package.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from coverage import CoverageData

from tests.mutation.mutants import Mutant

FOLDERS = ("tests/unit", "tests/contract", "tests/integration")
LIMIT = 3600  # seconds for the run
FILES = 12  # at most, for a line that is not measured
FILE_SECONDS = 15.0


class Selection:
    """Chooses the tests that execute a mutant's lines, the quickest first.

    Args:
        folder: where `measure` has written.
        root: the tree that was measured.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self._seconds: dict[str, float] = json.loads((folder / "durations.json").read_text())
        self._data = CoverageData(str(folder / "coverage"))
        self._data.read()
        self._root = root

    def tests(self, mutant: Mutant, budget: float) -> list[tuple[str, float]]:
        """Tests and their seconds, up to `budget` seconds in all."""
        contexts = self._data.contexts_by_lineno(str(self._root / mutant.path))
        lines = range(mutant.line, mutant.last_line + 1)
        found = _tests(contexts, lines)
        if not found:  # the first line of a statement of several lines is what is counted
            found = _tests(contexts, _statement(self._root / mutant.path, mutant.line))
        chosen: list[tuple[str, float]] = []
        for seconds, test in sorted((self._seconds[test], test) for test in found if test in self._seconds):
            budget -= seconds
            if budget < 0 and chosen:
                break
            chosen.append((test, seconds))
        return chosen or [(file, FILE_SECONDS) for file in self._importing(mutant.path)]

    def _importing(self, path: str) -> list[str]:
        module = path.removesuffix(".py").replace("/", ".")
        package, _, name = module.rpartition(".")
        texts = {
            str(file.relative_to(self._root)): file.read_text()
            for folder in FOLDERS[:2]
            for file in sorted((self._root / folder).rglob("test_*.py"))
        }
        direct = re.compile(rf"from {re.escape(module)} |from {re.escape(package)} import .*\b{name}\b")
        found = [file for file, text in texts.items() if direct.search(text)]
        return (found or [file for file, text in texts.items() if package in text])[:FILES]


def _tests(contexts: dict[int, list[str]], lines: range) -> set[str]:
    return {context.rpartition("|")[0] for line in lines for context in contexts.get(line, ()) if context}


def _statement(path: Path, line: int) -> range:
    spans = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    first, last = max(spans)
    return range(first, last + 1)


def measure(folder: Path, root: Path) -> None:
    """Run the fast tests once, with contexts, and write coverage and durations into `folder` (some minutes).

    Raises:
        FileNotFoundError: pytest ended before it wrote them; its output stands in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-p", "tests.mutation.durations", "-q"]
    command += ["-m", "not slow and not whole", "-k", "not rabbitmq", "--timeout", "60"]
    command += ["--cov=messaging", "--cov-context=test", "--cov-report=", *FOLDERS]
    files = {"COVERAGE_FILE": str(folder / "coverage"), "MUTATION_DURATIONS": str(folder / "durations.json")}
    with (folder / "pytest.out").open("w") as output:
        subprocess.run(
            command, cwd=root, env={**os.environ, **files}, stdout=output, stderr=output, timeout=LIMIT, check=False
        )
    for name in ("coverage", "durations.json"):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder / name} was not written: see {folder / 'pytest.out'}")
