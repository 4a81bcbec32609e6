"""The examples of docs/testing.md run, with Django's runner and with pytest, on the shop of the README's tour."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.unit.test_docs import blocks

pytestmark = [pytest.mark.whole, pytest.mark.slow]


@pytest.fixture
def shop(project_environment: dict[str, str], runner_database: str, tmp_path: Path) -> dict[str, str]:
    """The shop with its tests in a folder of its own, with migrations; the environment to run them in."""
    (tmp_path / "shop" / "migrations").mkdir(parents=True)
    for package in ("shop", "shop/migrations"):
        (tmp_path / package / "__init__.py").touch()
    for document in ("README.md", "docs/testing.md"):
        for block in blocks(ROOT / document):
            name = block.strip().splitlines()[0].removeprefix("# ")
            if name.startswith("shop/"):
                (tmp_path / name).write_text(block, encoding="utf-8")
    environment = {
        **project_environment,
        "DATABASE_URL": runner_database,
        "NEXUS_APPS": "shop",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    run("manage.py", "makemigrations", "shop", folder=ROOT, environment=environment)
    return environment


def run(*arguments: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run Python; return what it wrote."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=dict(environment), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_djangos_runner(shop: dict[str, str]) -> None:
    assert "Ran 6 tests" in run("manage.py", "test", "shop", folder=ROOT, environment=shop)


def test_pytest(shop: dict[str, str], tmp_path: Path) -> None:
    plugins = ("-p", "messaging.testing.plugin", "-p", "no:cacheprovider")
    said = run(
        *("-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(tmp_path), *plugins, "--ds", "nexus_site.settings"),
        *("shop/tests.py", "shop/test_orders.py", "shop/test_chat.py"),
        folder=tmp_path,
        environment=shop,
    )
    assert "10 passed" in said
