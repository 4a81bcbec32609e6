"""A short soak: real servers and processes, every kind of fault that there is time for, and a count by others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.soak.embedded import disk_full
from messaging.testing.servers.nodes import PostgresNode, RabbitMQNode
from tests.support.paths import ROOT
from tests.support.services import require

pytestmark = [pytest.mark.whole, pytest.mark.slow]


@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_out_of_order_under_faults(tmp_path: Path) -> None:
    require(RabbitMQNode)
    require(PostgresNode)
    folder = tmp_path / "soak"
    chosen = {"--seconds": "45", "--seed": "20261123", "--rate": "25", "--recovery": "60", "--folder": str(folder)}
    # Everything but the disk, which has a test of its own below, and what takes a broker's restart to show.
    kinds = (
        "worker kill -9",
        "pool process kill -9",
        "worker SIGTERM",
        "relay kill -9",
        "sender kill -9",
        "worker SIGSTOP",
        "broker kill -9",
        "broker data loss",
        "connections closed by the broker",
        "queue deleted",
        "duplicates out of order",
        "pg_terminate_backend",
        "database restart",
        "network cut",
        "confirms dropped",
        "clock jump",
        "policy changed",
        "rule fails",
        "API client kill -9",
    )
    words = [word for pair in chosen.items() for word in pair] + [word for kind in kinds for word in ("--kind", kind)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", *words], cwd=ROOT, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["lost"] == summary["duplicated"] == summary["out_of_order"] == summary["parked"] == 0
    assert summary["sent"] > 100
    assert summary["sagas"]["begun"] > 0
    assert summary["refused"]["sent"] > 0
    assert summary["attempts"] >= summary["handled"]


@pytest.mark.timeout(300)
def test_an_embedded_installation_survives_a_full_disk(tmp_path: Path) -> None:
    count, hits, _ = disk_full(tmp_path, times=2)
    assert hits == 2
    assert count.sent > 20
    assert (count.missing, count.unexpected, count.duplicated, count.out_of_order) == (0, 0, 0, 0), count.examples
