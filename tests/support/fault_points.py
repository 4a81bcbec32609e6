"""Kills its own process at chosen points of its life. Loaded by NEXUS_AGENTS; production code knows nothing of it.

FAULT_TOKENS names a folder. A token is a file ``<point>.<number>``; whoever comes by that point for the FAULT_CALL-th
time in its life and manages to remove a token dies there by SIGKILL. So each point kills as often as it has tokens.
FAULT_CLAIM is how long a repeated request waits for a web process that died (seconds, see nexus_api/idempotency.py).
FAULT_KILLS=worker kills the worker's main process with it.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from billiard.process import current_process
from django.db.backends.base.base import BaseDatabaseWrapper

from messaging import log
from messaging.brokers import EmbeddedBroker, RabbitMQBroker
from messaging.log import committing
from messaging.receiving.transactional import execution
from messaging.receiving.transactional.outbound import Outbound
from messaging.transport.publisher import Publisher

POINTS = (
    "after_store",
    "before_commit",
    "after_commit",
    "after_publish",
    "before_confirm",
    "before_acknowledge",
    "after_acknowledge",
)
POINTS_ONWARD = (
    "after_onward_handler",
    "before_onward_insertion",
    "after_onward_insertion",
    "after_onward_commit",
)
"""In a transaction that handles what its own handlers sent."""
POINTS_OF_REQUESTS = ("after_claim", "before_commit_of_answer", "after_commit_of_answer")
"""In a web process, at a request with an Idempotency-Key."""
_calls: Counter[str] = Counter()
_here = threading.local()


def make_tokens(folder: Path, points: tuple[str, ...], each: int) -> None:
    """Let each of the points kill so many times."""
    folder.mkdir(parents=True, exist_ok=True)
    for point in points:
        for number in range(each):
            (folder / f"{point}.{number}").touch()


def tokens_left(folder: Path) -> list[str]:
    """The tokens that nobody died of."""
    return sorted(path.name for path in folder.iterdir())


def _reached(point: str) -> None:
    _calls[f"{os.getpid()} {point}"] += 1
    if _calls[f"{os.getpid()} {point}"] < int(os.environ.get("FAULT_CALL", "2")):
        return
    for token in Path(os.environ["FAULT_TOKENS"]).glob(f"{point}.*"):
        try:
            token.unlink()
        except FileNotFoundError:  # another process died of it
            continue
        # A pool process takes its worker with it; the worker itself must not take whoever started it.
        if os.environ.get("FAULT_KILLS") == "worker" and current_process().name != "MainProcess":
            os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def _wrap(
    owner: Any,
    name: str,
    *,
    before: str | None = None,
    after: str | None = None,
    when: Callable[..., bool] | None = None,
) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        matters = when is None or when(*arguments)
        if before and matters:
            _reached(before)
        result = original(*arguments, **options)
        if after and matters:
            _reached(after)
        return result

    setattr(owner, name, wrapped)


def _claimed(*_: Any) -> bool:
    return getattr(_here, "claimed", False)


def _handling(*_: Any) -> bool:
    return getattr(_here, "handling", False)


def _onward(*_: Any) -> bool:
    return _handling() and getattr(_here, "onward", False)


def _inserting_onward(_: Any, writes: log.BatchWrites, *__: Any) -> bool:
    return _onward() and bool(writes.messages)


def _install() -> None:
    original = execution.handle

    @functools.wraps(original)
    def handle(*arguments: Any, **options: Any) -> Any:
        _here.handling, _here.onward = True, False
        try:
            return original(*arguments, **options)
        finally:
            _here.handling = False

    execution.handle = handle
    _install_onward()
    _wrap(log, "close_batch", after="after_store", when=_handling)
    _wrap(committing, "_exchange", before="before_commit", after="after_commit", when=_handling)
    _wrap(BaseDatabaseWrapper, "commit", before="before_commit", after="after_commit", when=_handling)
    for broker in (RabbitMQBroker, EmbeddedBroker):
        _wrap(broker, "publish_begin", after="after_publish", when=lambda _, messages: bool(messages))
        _wrap(broker, "publish_collect", before="before_confirm")
        _wrap(
            broker,
            "acknowledge",
            before="before_acknowledge",
            after="after_acknowledge",
            when=lambda _, messages: bool(messages),
        )


def _install_onward() -> None:
    original = Outbound.note_handled

    @functools.wraps(original)
    def note_handled(self: Outbound, delivery: UUID) -> None:
        original(self, delivery)
        _here.onward = True
        _reached("after_onward_handler")

    Outbound.note_handled = note_handled  # type: ignore[method-assign]
    insertion = {"before": "before_onward_insertion", "after": "after_onward_insertion"}
    _wrap(log, "close_batch", **insertion, when=_inserting_onward)
    for owner, name in ((committing, "_exchange"), (BaseDatabaseWrapper, "commit")):
        _wrap(owner, name, after="after_onward_commit", when=_onward)


def _install_in_requests(claim: float) -> None:
    from nexus_api import idempotency

    idempotency.CLAIM = timedelta(seconds=claim)
    original = idempotency._claim

    @functools.wraps(original)
    def claimed(*arguments: Any) -> Any:
        _here.claimed = False
        found = original(*arguments)
        _here.claimed = found[1]
        if found[1]:
            _reached("after_claim")
        return found

    idempotency._claim = claimed  # type: ignore[assignment]
    names = {"before": "before_commit_of_answer", "after": "after_commit_of_answer"}
    _wrap(BaseDatabaseWrapper, "commit", **names, when=_claimed)


def _drop_first_publishes() -> None:
    """Nobody but the relay publishes."""
    Publisher.begin = lambda self, deliveries: None  # type: ignore[method-assign]


if os.environ.get("FAULT_TOKENS"):
    _install()
if os.environ.get("FAULT_CLAIM"):
    _install_in_requests(float(os.environ["FAULT_CLAIM"]))
if os.environ.get("FAULT_ONLY_RELAY_PUBLISHES"):
    _drop_first_publishes()
