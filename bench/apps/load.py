"""Open-loop load: messages are due at fixed times, whatever becomes of those before them.

Latency counts from the time at which a message was *due*. A sender that falls behind, or a system that makes it wait,
cannot hide it (no coordinated omission).
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable

SENDS_A_PROCESS = 100
"""Messages per second that one sending process is asked for at most."""

HEAD_START = 0.3


def offer(rate: int, seconds: float, send: Callable[[int], None]) -> int:
    """Send messages 0, 1, 2, … from as many processes as the rate needs, and wait for them.

    Args:
        rate: messages per second.
        seconds: how long.
        send: sends the message of a number; it is called in forked processes, which must make their own connections.

    Returns:
        When message 0 was due, in nanoseconds of the monotonic clock; message n was due n / rate seconds later.
    """
    processes = max(1, rate // SENDS_A_PROCESS)
    total = int(rate * seconds)
    began = time.monotonic_ns() + int(HEAD_START * 1e9)
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            _send_share(range(number, total, processes), began, rate, send)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    if failed:
        raise RuntimeError(f"{len(failed)} of {processes} sending processes failed")
    return began


def _send_share(numbers: range, began: int, rate: int, send: Callable[[int], None]) -> None:
    try:
        for number in numbers:
            ahead = (began + number * 1e9 / rate - time.monotonic_ns()) / 1e9
            if ahead > 0:
                time.sleep(ahead)
            send(number)
        send(-1)
    except BaseException:  # noqa: BLE001 - a forked child must never return
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
