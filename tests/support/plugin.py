"""Chooses the database before Django reads its settings. Loaded by `-p tests.support.plugin` in pytest.ini.

TEST_PATIENCE=3 lets every wait and every test take three times as long, on a slow machine.
TEST_DATABASE=sqlite (the default) or postgres says which database the whole pytest run uses. The database, and all
other files, are private to the run: DATABASE_URL, DATABASE_URL_*, BROKER_URL, REDIS_URL and NEXUS_* of the surrounding
shell are taken away first, so that no test can reach a real installation.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from messaging.testing import plugin as testing_plugin
from messaging.testing.servers.nodes import PostgresNode
from messaging.testing.servers.reaper import Reaper
from messaging.testing.servers.waiting import PATIENCE
from tests.support import corpora

VENDORS = ("sqlite", "postgres")
DATABASE_NAME = "nexus"

_DATABASE_FIXTURES = frozenset({"db", "transactional_db", "database_url", "database_vendor"})

data_folder_key = pytest.StashKey[Path]()
postgres_key = pytest.StashKey[PostgresNode]()


def chosen_vendor() -> str:
    """The database of this run: sqlite or postgres.

    Raises:
        pytest.UsageError: TEST_DATABASE has another value.
    """
    vendor = os.environ.get("TEST_DATABASE", VENDORS[0])
    if vendor not in VENDORS:
        raise pytest.UsageError(f"TEST_DATABASE={vendor!r}: expected one of {', '.join(VENDORS)}")
    return vendor


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add --database-only, and the plugin that users get with the package: nothing is installed here."""
    if not pluginmanager.has_plugin("nexus"):
        pluginmanager.register(testing_plugin, "nexus")
    parser.addoption(
        "--database-only", action="store_true", help="run only the tests that use the run's database (TEST_DATABASE)"
    )
    parser.addoption(
        "--short",
        action="store_true",
        help="within ten minutes: no test marked whole, contracts only on PostgreSQL, all others only on SQLite",
    )


def uses_database(item: pytest.Item) -> bool:
    """Whether a test uses the run's database, so that its result may depend on the vendor."""
    if item.get_closest_marker("django_db") is not None:
        return True
    return not _DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test the time that this machine needs; leave out what --database-only and --short leave out."""
    for item in items if PATIENCE != 1 else ():
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0] if marker else config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(seconds * PATIENCE), append=False)
    kept = list(items)
    if config.getoption("--database-only"):
        kept = [item for item in kept if uses_database(item)]
    if config.getoption("--short"):
        kept = [item for item in kept if _in_short_run(item, config.rootpath)]
    left_out = set(items).difference(kept)
    if left_out:
        items[:] = kept
        config.hook.pytest_deselected(items=list(left_out))


def _in_short_run(item: pytest.Item, root: Path) -> bool:
    if item.get_closest_marker("whole") is not None:
        return False
    contract = item.path.is_relative_to(root / "tests" / "contract") and uses_database(item)
    return contract == (chosen_vendor() == "postgres")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Prepare the environment that nexus_site.settings reads."""
    vendor = chosen_vendor()
    for name in list(os.environ):
        if name in {"DATABASE_URL", "BROKER_URL", "REDIS_URL"} or name.startswith(("NEXUS_", "DATABASE_URL_")):
            del os.environ[name]
    folder = Path(tempfile.mkdtemp(prefix="nexus-tests-"))
    Reaper.shared().watch_folder(folder)
    early_config.stash[data_folder_key] = folder
    os.environ["NEXUS_DATA_DIR"] = str(folder)
    if vendor == "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{folder / 'nexus.sqlite3'}"
        return
    reason = PostgresNode.missing()
    if reason is not None:
        raise pytest.UsageError(f"TEST_DATABASE=postgres, but {reason}")
    if getattr(early_config.known_args_namespace, "numprocesses", None) and "PYTEST_XDIST_WORKER" not in os.environ:
        return  # the processes that run the tests start one each; this one only hands them out
    # Nothing here survives the run, so it need not survive the machine either; kill tests use the `postgres` fixture.
    node = PostgresNode(durable=False).start()
    early_config.stash[postgres_key] = node
    os.environ["DATABASE_URL"] = node.create_database(DATABASE_NAME)


def pytest_report_header() -> str:
    """Say which database and which corpora the run uses."""
    return f"database: {chosen_vendor()}, corpora: {corpora.CHOSEN or 'those beside the repository'}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the run's database and remove its files."""
    node = config.stash.get(postgres_key, None)
    if node is not None:
        node.remove()
    folder = config.stash.get(data_folder_key, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        Reaper.shared().forget_folder(folder)
