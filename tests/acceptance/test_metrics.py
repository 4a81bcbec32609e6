"""The figures of /metrics after ten kills, by kill -9, of the processes that count. RACE_FULL_SIZE=1 runs it.

Those of seven kills are looked at in test_killed_workers.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.acceptance.conftest import Install
from tests.support import fault_points
from tests.support.scraping import METRICS, assert_metrics_equal_the_log


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.environ.get("RACE_FULL_SIZE") != "1", reason="RACE_FULL_SIZE=1 runs it")
def test_equal_the_log_after_ten_kills(install: Install, rabbitmq_url: str, tmp_path: Path) -> None:
    points = ("after_store", "before_commit", "after_commit", "after_publish", "before_acknowledge")
    fault_points.make_tokens(tmp_path / "tokens", points, 2)
    installation = install(rabbitmq_url, redelivery_after=3, publish_grace=1, relay_interval=0.1, **METRICS)
    installation.relay()
    installation.program("race", "10", "60")
    installation.worker(FAULT_TOKENS=str(tmp_path / "tokens"))
    installation.wait_processed(600, 120)
    assert fault_points.tokens_left(tmp_path / "tokens") == []
    installation.assert_handled_once_in_order(600)
    assert_metrics_equal_the_log(installation, 600)
