"""One agent whose process notes when each stage of a message begins, for ``bench.trace_one``. Named by NEXUS_AGENTS.

Nothing in the production code measures anything: its functions are wrapped here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from messaging.api import AgentSpec, Envelope, HandlerContext, registry
from messaging.brokers.rabbitmq import RabbitMQBroker
from messaging.receiving import consumer
from messaging.receiving.transactional import execution
from messaging.transport.background import BackgroundPublisher
from messaging.transport.publisher import Publisher

_file = os.open(os.environ["BENCH_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(stage: str) -> None:
    """Write down that a stage was reached now."""
    os.write(_file, f"{time.monotonic_ns()} {stage}\n".encode())


def _trace(owner: Any, name: str, *, before: str = "", after: str = "") -> None:
    original: Callable[..., Any] = getattr(owner, name)

    @wraps(original)
    def traced(*args: Any, **kwargs: Any) -> Any:
        if before:
            note(before)
        result = original(*args, **kwargs)
        if after and (result or name not in ("receive", "publish_collect")):
            note(after)
        return result

    setattr(owner, name, traced)


def trace_sender() -> None:
    """Note the stages of the process that sends."""
    _trace(BackgroundPublisher, "offer", before="committed by the sender")
    _trace(Publisher, "begin", before="taken by the publisher", after="published")
    _trace(RabbitMQBroker, "publish_collect", after="confirmed")


def _trace_worker() -> None:
    _trace(RabbitMQBroker, "receive", after="received")
    _trace(consumer, "admit", after="through the gate")
    _trace(execution, "plan_batch", after="batch opened")
    _trace(execution._Work, "store", before="handler returned", after="stored")
    _trace(execution, "handle", after="committed by the worker")
    _trace(RabbitMQBroker, "acknowledge", after="acknowledged")


def _run(message: Envelope, context: HandlerContext) -> None:
    note("handler started")


registry.register(AgentSpec(name="traced", handler=_run))
if os.environ.get("BENCH_TRACE_WORKER"):
    _trace_worker()
