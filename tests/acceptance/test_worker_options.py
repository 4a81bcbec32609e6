"""What ``celery worker`` is told is done, or refused with words."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from celery.concurrency.solo import TaskPool

from messaging.receiving.preflight import refuse_unsupported_pool
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support.installation import Installation


class UnknownPool(TaskPool):  # type: ignore[misc]  # celery has no types
    """A pool of somebody's own (CELERY_CUSTOM_WORKER_POOL)."""


def worker(installation: Installation, *arguments: str) -> Supervised:
    process = Supervised(
        [sys.executable, "-m", "celery", "-A", "nexus_site", "worker", "-l", "info", *arguments],
        log_file=installation.folder / f"options-{len(installation.processes)}.log",
        environment=installation.environment,
        name="worker",
    )
    installation.processes.append(process)
    return process.start()


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "custom.pool:TaskPool", UnknownPool])
def test_a_pool_without_consumers_is_refused_with_words(pool: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        refuse_unsupported_pool(SimpleNamespace(pool_cls=pool, max_tasks_per_child=None, max_memory_per_child=None))
    assert "--pool prefork" in capsys.readouterr().err


@pytest.mark.parametrize("pool", ["solo", "threads"])
@pytest.mark.parametrize("limit", ["max_tasks_per_child", "max_memory_per_child"])
def test_limits_of_processes_are_refused_where_there_are_none(
    pool: str, limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = {"max_tasks_per_child": None, "max_memory_per_child": None, limit: 5}
    with pytest.raises(SystemExit):
        refuse_unsupported_pool(SimpleNamespace(pool_cls=pool, **limits))
    assert "--max-tasks-per-child" in capsys.readouterr().err


@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_a_supported_pool_handles_messages(install: Install, rabbitmq_url: str, pool: str) -> None:
    installation = install(rabbitmq_url, relay_interval=0.1)
    worker(installation, "--pool", pool, "--concurrency", "1")
    installation.program("sink", "20")
    installation.relay()
    installation.wait_processed(20, 60)


@pytest.mark.whole
@pytest.mark.slow
def test_a_refused_pool_ends_the_worker(install: Install, rabbitmq_url: str) -> None:
    installation = install(rabbitmq_url)
    installation.environment["CELERY_CUSTOM_WORKER_POOL"] = "tests.acceptance.test_worker_options:UnknownPool"
    process = worker(installation, "--pool", "custom")
    wait_until(lambda: not process.running, 60, process.log)
    assert "consumes no messages of Nexus" in process.log()


@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.parametrize("limit", [("--max-tasks-per-child", "50"), ("--max-memory-per-child", "20000")])
def test_processes_are_replaced_and_nothing_is_lost(
    install: Install, rabbitmq_url: str, limit: tuple[str, str]
) -> None:
    installation = install(rabbitmq_url, redelivery_after=3, publish_grace=1, relay_interval=0.1)
    process = worker(installation, "--pool", "prefork", "--concurrency", "1", *limit)
    installation.relay()
    for total in (100, 200):
        installation.program("sink", "100")
        installation.wait_processed(total, 60)
    wait_until(lambda: process.log().count("another one takes its place") >= 2, 30, process.log)
    installation.assert_handled_once_in_order(200)
    started = installation.query("SELECT count(DISTINCT pid) FROM nexus_worker_status")[0][0]
    assert started >= 2
    assert process.terminate(30) == 0
