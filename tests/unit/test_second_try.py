"""scripts/test.sh: what fails twice in a full run is not hidden by a second try; and no test takes an agent away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

STUB = """#!/usr/bin/env bash
# Stands for every tool; as pytest it fails as the files beside it say, and passes by itself.
[[ "$*" == *pytest* ]] || exit 0
if [[ "$*" == *--last-failed* ]]; then echo "= 1 passed in 0.1s ="; exit 0; fi
failing="$STUBS/fails_on_$TEST_DATABASE"
[ -e "$failing" ] || { echo "= 9 passed in 0.1s ="; exit 0; }
sed 's/^/FAILED /; s/$/ - AssertionError/' "$failing"
echo "= 1 failed, 8 passed in 0.1s ="
exit 1
"""


class Checkout:
    """A checkout with stubs for its tools."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        (folder / ".pytest_cache").mkdir()
        (folder / ".venv" / "bin").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "test.sh", folder / "scripts")
        for tool in ("python", "ruff", "mypy", "lint-imports", "bandit"):
            stub = folder / ".venv" / "bin" / tool
            stub.write_text(STUB)
            stub.chmod(0o755)

    def fails(self, vendor: str, *names: str) -> None:
        path = self.folder / f"fails_on_{vendor}"
        path.write_text("".join(f"{name}\n" for name in names)) if names else path.unlink(missing_ok=True)

    def run(self) -> tuple[int, str]:
        environment = {**os.environ, "STUBS": str(self.folder)}
        done = subprocess.run(
            ["bash", "scripts/test.sh"], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


FIRST, SECOND = "tests/a.py::test_one[x y]", "tests/b.py::test_two"


@pytest.mark.whole
def test_a_test_that_fails_once_is_named_and_forgiven(checkout: Checkout) -> None:
    checkout.fails("sqlite", FIRST)
    code, said = checkout.run()
    assert (code, "UNSTEADY" in said) == (0, True), said
    checkout.fails("sqlite", SECOND)
    assert checkout.run()[0] == 0, "another one the next time"


@pytest.mark.whole
def test_a_test_that_fails_on_both_databases_is_not(checkout: Checkout) -> None:
    for vendor in ("sqlite", "postgres"):
        checkout.fails(vendor, FIRST, SECOND)
    code, said = checkout.run()
    assert code == 1
    assert "failed in two full runs" in said
    assert "FAILED: tests on PostgreSQL" in said


@pytest.mark.whole
def test_a_test_that_fails_in_two_runs_is_not(checkout: Checkout) -> None:
    checkout.fails("sqlite", FIRST)
    assert checkout.run()[0] == 0
    code, said = checkout.run()
    assert (code, "FAILED: tests on SQLite" in said) == (1, True), said
    checkout.fails("sqlite")
    assert checkout.run()[0] == 0


TESTS = """
from messaging.api import AgentSpec, registry

registry.register(AgentSpec(name="installed", handler=lambda message, context: None))

def test_casts_it():
    registry.remove("installed")
    registry.register(AgentSpec(name="installed", handler=lambda message, context: "cast"))
    registry.remove("installed")

def test_needs_it():
    assert registry.get("installed").handler(None, None) is None
"""


@pytest.mark.whole
def test_a_test_that_casts_an_agent_does_not_take_it_from_the_next(tmp_path: Path) -> None:
    (tmp_path / "test_cast.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "messaging.testing.plugin"]
    done = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", str(tmp_path), str(tmp_path / "test_cast.py")],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "nexus_site.settings", "NEXUS_DATA_DIR": str(tmp_path / "var")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
