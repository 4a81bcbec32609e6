"""Versions: locked with hashes, the same in each list, and none that an advisory names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

CHECK = ROOT / "scripts" / "check_advisories.py"


def check(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECK), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;#\\]+)", (ROOT / name).read_text(), re.MULTILINE)
    return {package.lower().replace("_", "-"): version for package, version in found}


def test_what_is_pinned_and_installed_is_named_by_no_advisory() -> None:
    done = check()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("pin", "advisory"),
    [
        ("Django==5.2.5\n", "CVE-2025-57833"),
        ("PyYAML==5.3.1  # old\n", "CVE-2020-14343"),
        ("redis[hiredis]==4.5.3 \\\n    --hash=sha256:00\n", "CVE-2023-28859"),
        ("guardrails-ai==0.10.1\n", "CVE-2026-45758"),
    ],
)
def test_a_bad_pin_is_found(tmp_path: Path, pin: str, advisory: str) -> None:
    planted = tmp_path / "planted.txt"
    planted.write_text(f"nh3==0.3.8\n{pin}")
    done = check(planted)
    assert done.returncode == 1
    assert f"planted.txt:2: {pin.partition('==')[0].partition('[')[0]}" in done.stdout
    assert advisory in done.stdout


def test_a_list_that_is_missing_is_no_clean_one(tmp_path: Path) -> None:
    assert check(tmp_path / "none.txt").returncode == 2


def test_the_lock_has_every_pin_and_a_hash_for_each() -> None:
    locked, wanted = pins("requirements.lock"), pins("requirements.txt")
    assert {name: locked.get(name) for name in wanted} == wanted, (
        "requirements.lock is older; its head says how to make it"
    )
    entries = re.split(r"^(?=[A-Za-z0-9])", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked)
    for entry in entries:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.partition("==")[0]


def test_the_lock_names_no_machine() -> None:
    """A folder or an index of whoever made it would be missing, or trusted, elsewhere."""
    assert re.findall(r"^--.*", (ROOT / "requirements.lock").read_text(), re.MULTILINE) == []
