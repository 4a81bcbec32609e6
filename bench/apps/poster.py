"""Posts orders to the site, from several threads: ``python -m bench.apps.poster PORT REQUESTS THREADS``."""

from __future__ import annotations

import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bench.apps.relay import report, wait_for_go


def _post(port: int, numbers: range) -> list[float]:
    """Post orders one after the other on one connection; return the milliseconds of each."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    taken = []
    for number in numbers:
        began = time.monotonic()
        connection.request("POST", "/", json.dumps({"number": number}), {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"order {number}: status {response.status}")
        taken.append((time.monotonic() - began) * 1e3)
    connection.close()
    return taken


def main(port: int, requests: int, threads: int) -> None:
    """Post when standard input says so; report when it began and ended, and percentiles."""
    wait_for_go()
    started = time.monotonic_ns()
    with ThreadPoolExecutor(threads) as pool:
        shares = pool.map(lambda first: _post(port, range(first, requests, threads)), range(threads))
        taken = sorted(one for share in shares for one in share)
    returned = time.monotonic_ns()
    report(
        {"started": started, "returned": returned, "p50": taken[len(taken) // 2], "p99": taken[len(taken) * 99 // 100]}
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
