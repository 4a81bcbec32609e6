"""A worker does not start on an unsafe configuration."""

from __future__ import annotations

import logging
import sys
from typing import Any

from celery.concurrency import ALIASES
from django.core.checks import CheckMessage, run_checks
from django.db import connections

logger = logging.getLogger("nexus.receiving")

TAGS = ("nexus", "nexus_broker", "nexus_database", "nexus_tables")
UNUSABLE_CONFIGURATION = 78  # EX_CONFIG of sysexits.h

PREFORK = "celery.concurrency.prefork"
POOLS = (PREFORK, "celery.concurrency.solo", "celery.concurrency.thread")
"""Those in whose processes consumers are started. Greenlets have neither threads nor a psycopg that yields."""


def explain(errors: list[CheckMessage]) -> str:
    """Say on one screen what is wrong and what to do."""
    lines = [f"The worker does not start: {len(errors)} thing{'s' * (len(errors) > 1)} to correct first.", ""]
    for error in errors:
        lines += [f"{error.id}  {error.msg}", f"    Fix: {error.hint}", ""]
    return "\n".join(lines)


def refuse_unsafe_configuration() -> None:
    """Run the checks, those that ask servers too.

    Raises:
        SystemExit: one of them found an error. It was written to stderr.
    """
    found = [message for message in run_checks(tags=TAGS, include_deployment_checks=True) if not message.is_silenced()]
    # The worker is about to fork, and its children must not share a connection.
    connections.close_all()
    errors = [message for message in found if message.is_serious()]
    for message in found:
        if message not in errors:
            logger.warning("%s: %s %s", message.id, message.msg, message.hint)
    if errors:
        sys.stderr.write(explain(errors))
        sys.stderr.flush()
        raise SystemExit(UNUSABLE_CONFIGURATION)


def refuse_unsupported_pool(worker: Any) -> None:
    """End a worker whose options Nexus cannot honour, instead of consuming nothing without a word.

    Args:
        worker: Celery's, before it makes its pool.

    Raises:
        SystemExit: the reason was written to stderr.
    """
    chosen = worker.pool_cls
    module = str(ALIASES.get(chosen, chosen)).partition(":")[0] if isinstance(chosen, str) else chosen.__module__
    problem = ""
    if module not in POOLS:
        problem = f"The pool {chosen!r} consumes no messages of Nexus. Use --pool prefork, threads or solo."
    elif module != PREFORK and (worker.max_tasks_per_child or worker.max_memory_per_child):
        problem = (
            "--max-tasks-per-child and --max-memory-per-child replace pool processes, and this pool has none. "
            "Use --pool prefork, or leave them out."
        )
    if problem:
        sys.stderr.write(f"The worker does not start. {problem}\n")
        sys.stderr.flush()
        raise SystemExit(UNUSABLE_CONFIGURATION)
