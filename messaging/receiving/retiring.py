"""Replacing a pool process that has done its share: Celery's ``--max-tasks-per-child`` and ``--max-memory-per-child``.

Celery counts its own tasks only. Here messages count, and the whole process's memory, whatever it was used for.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

logger = logging.getLogger("nexus.receiving")

LOOK_EVERY = 1.0
"""Seconds between two looks: a process handles a little more than its share."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a pool process may do before another one takes its place.

    Args:
        messages: that it handles; 0 for no limit.
        kilobytes: of memory that it takes at most at once; 0 for no limit.
    """

    messages: int = 0
    kilobytes: int = 0

    def reached(self, messages: int, kilobytes: int) -> str:
        """Why a process has to go; empty when it may stay."""
        if self.messages and messages >= self.messages:
            return f"it settled {messages} messages (--max-tasks-per-child {self.messages})"
        if self.kilobytes and kilobytes >= self.kilobytes:
            return f"it took {kilobytes} kB (--max-memory-per-child {self.kilobytes})"
        return ""


def peak_kilobytes() -> int:
    """The most memory that this process has taken so far, as Celery measures it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def retire(share: Share, messages: Callable[[], int]) -> threading.Event:
    """End this process once its share is done: it finishes what it has at hand, and the worker starts another.

    Args:
        share: of each process.
        messages: how many it has handled.

    Returns:
        To be set when the process ends anyway.
    """
    stopping = threading.Event()

    def look() -> None:
        while not stopping.wait(LOOK_EVERY):
            reason = share.reached(messages(), peak_kilobytes())
            if reason:
                logger.info("This process ends and another one takes its place: %s.", reason)
                os.kill(os.getpid(), signal.SIGTERM)  # ends it in good order: see messaging/receiving/worker.py
                return

    if share != Share():
        threading.Thread(target=look, name="nexus-retiring", daemon=True).start()
    return stopping
