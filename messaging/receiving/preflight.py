"""A worker does not start on an unsafe configuration."""

from __future__ import annotations

import logging
import sys

from django.core.checks import CheckMessage, run_checks
from django.db import connections

logger = logging.getLogger("nexus.receiving")

TAGS = ("nexus", "nexus_broker", "nexus_database", "nexus_tables")
UNUSABLE_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


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
