"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

PATIENCE = float(os.environ.get("TEST_PATIENCE", "1"))
"""How many times longer everything is waited for: more than 1 where the machine is slow or busy."""


class WaitTimeout(AssertionError):
    """The condition did not come true before the deadline."""


def wait_until(
    condition: Callable[[], Value],
    timeout: float,
    what: str | Callable[[], str],
    *,
    interval: float = 0.02,
    ignoring: tuple[type[Exception], ...] = (),
) -> Value:
    """Poll a condition until it is true.

    Args:
        condition: called again and again; its first truthy value ends the wait.
        timeout: seconds until the wait fails, times TEST_PATIENCE of the environment. The condition is always tried at
            least once, and once at the end.
        what: what is waited for, for the failure message; a function is called only on failure.
        interval: seconds between two tries.
        ignoring: exceptions that count as "not yet".

    Returns:
        The condition's first truthy value.

    Raises:
        WaitTimeout: the deadline passed; says what was waited for, and the last value or exception.
    """
    pause = threading.Event()
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        last_try = time.monotonic() >= deadline
        seen: object
        try:
            value = condition()
            if value:
                return value
            seen = value
        except ignoring as error:
            seen = error
        if last_try:
            described = what() if callable(what) else what
            raise WaitTimeout(f"waited {timeout:g} s for {described}; last seen: {seen!r}")
        pause.wait(min(interval, max(0.0, deadline - time.monotonic())))
