"""Viewers of a live page that come and go, as browsers with a bad network do."""

from __future__ import annotations

import http.client
import threading
from contextlib import suppress
from random import Random

FAILED = (OSError, http.client.HTTPException)


def watch(port: int, path: str, *, viewers: int, seconds: float, random: Random) -> int:
    """Have viewers come, watch for a moment, go without a word, and come again.

    Args:
        port: of the web server on this machine.
        path: of the events.
        viewers: how many at once.
        seconds: how long this goes on.
        random: for how long each watches.

    Returns:
        How often one of them got something.
    """
    seen = [0] * viewers
    ending = threading.Event()
    patience = [random.uniform(0.1, 1.0) for _ in range(viewers)]

    def view(number: int) -> None:
        while not ending.is_set():
            with suppress(*FAILED):
                seen[number] += _look(port, path)
            ending.wait(patience[number])

    threads = [threading.Thread(target=view, args=(number,), daemon=True) for number in range(viewers)]
    for thread in threads:
        thread.start()
    threading.Event().wait(seconds)
    ending.set()
    for thread in threads:
        thread.join(10)
    return sum(seen)


def _look(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status == 200 and bool(response.readline())
    finally:
        connection.close()
