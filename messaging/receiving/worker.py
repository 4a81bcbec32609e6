"""Runs a consumer in each of Celery's worker processes.

Celery manages the processes (number, restart after death, warm shutdown) and runs operators' tasks in them. Messages
do not pass through its per-message path: a consumer thread in each process receives them in batches, on connections
of its own.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import threading
from typing import Any

from billiard.process import current_process
from celery import signals

from messaging.conf import get_settings
from messaging.core import tracing
from messaging.core.registry import WORKER_KINDS
from messaging.receiving.consumer import Consumer
from messaging.receiving.preflight import refuse_unsafe_configuration, refuse_unsupported_pool
from messaging.receiving.retiring import Share, retire
from messaging.receiving.watchdog import Watchdog
from messaging.transport.current import get_broker

logger = logging.getLogger("nexus.receiving")

FLUSH_SECONDS = 2.0
"""What the traces of a process that ends may take to be handed over."""

_running: list[Consumer] = []
_watchdogs: list[Watchdog] = []
_retiring: list[threading.Event] = []
_share = Share()
_numbers = itertools.count()


def start_consumers(count: int = 1) -> None:
    """Start consumer threads in this process.

    Args:
        count: how many.
    """
    _running.extend(_start_consumer() for _ in range(count))
    watchdog = Watchdog(_running, get_broker())
    watchdog.start()
    _watchdogs.append(watchdog)
    _retiring.append(retire(_share, lambda: sum(sum(consumer.outcomes.values()) for consumer in _running)))


def _start_consumer() -> Consumer:
    queues = tuple(kind.value for kind in WORKER_KINDS if kind.value in get_settings().consume.split(","))
    parent = os.getppid() if current_process().name != "MainProcess" else None
    consumer = Consumer(get_broker(), queues, parent=parent)
    consumer.start(f"nexus-consumer-{next(_numbers)}")
    return consumer


def stop_consumers() -> None:
    """Stop the consumer threads of this process: finish the batch at hand and what runs, within ``drain_timeout``."""
    for watchdog in _watchdogs:
        watchdog.stop()
    _watchdogs.clear()
    for stopping in _retiring:
        stopping.set()
    _retiring.clear()
    for consumer in _running:
        consumer.stop()
    for consumer in _running:
        consumer.join(get_settings().drain_timeout + 5.0)
    _running.clear()
    tracing.flush(FLUSH_SECONDS)


@signals.worker_init.connect  # type: ignore[untyped-decorator]
def _prepare(sender: Any, **_: Any) -> None:
    global _share
    refuse_unsupported_pool(sender)
    refuse_unsafe_configuration()
    _share = Share(int(sender.max_tasks_per_child or 0), int(sender.max_memory_per_child or 0))


@signals.worker_process_init.connect  # type: ignore[untyped-decorator]
def _start_in_process(**_: Any) -> None:
    if current_process().name != "MainProcess":
        signal.signal(signal.SIGTERM, _end_process)
    start_consumers()


def _end_process(*_: Any) -> None:
    """End a pool process in good order.

    Process managers send SIGTERM to every process of a group. By default it would kill a pool process in the middle of
    a batch, while the worker's main process is still shutting down warmly.
    """
    raise SystemExit(0)


@signals.worker_ready.connect  # type: ignore[untyped-decorator]
def _start_in_threads(sender: Any = None, **_: Any) -> None:
    """The pools without processes of their own send no ``worker_process_init``."""
    if not _running and sender.pool.__class__.__module__.endswith(".thread"):
        start_consumers(sender.pool.limit)


@signals.worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _stop_in_process(**_: Any) -> None:
    stop_consumers()


@signals.worker_shutdown.connect  # type: ignore[untyped-decorator]
def _stop_in_main(**_: Any) -> None:
    stop_consumers()
