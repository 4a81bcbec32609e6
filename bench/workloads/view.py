"""Sends in a view: gunicorn with 8 threads; each POST saves a row and sends; against Celery's delay_on_commit."""

from __future__ import annotations

import time

from bench.cpu import Meter
from bench.ground import BenchError, BenchServers
from bench.ledger import problems
from bench.progress import Rounds, say
from bench.results import Figures
from bench.systems.web import CeleryInView, NexusInView
from messaging.testing.servers.waiting import wait_until

REQUESTS = 1_500
TIMEOUT = 120.0


def run(ground: BenchServers, rounds: Rounds) -> Figures:
    """Post on both systems, which take turns; their workers handle meanwhile what is sent."""
    found: Figures = {}
    for number in rounds:
        for name, kind in {"nexus send": NexusInView, "celery delay_on_commit": CeleryInView}.items():
            measured = _measure(kind(ground, f"v{number}"))
            found.setdefault(name, []).append(measured)
            shown = ", ".join(f"{figure} {value:,.1f}" for figure, value in measured.items())
            say(f"{name} in a view: {shown}")
    return found


def _measure(system: NexusInView | CeleryInView) -> dict[str, float]:
    try:
        system.start()
        system.start_web()
        _post(system, REQUESTS // 5)  # warm
        answers, meter_figures = _post(system, REQUESTS)
        if wrong := [*problems(system.ledger.calls(), range(REQUESTS), 1), *system.check()]:
            raise BenchError(f"{system.name}: {', '.join(wrong)}; {system.tail()}")
    finally:
        system.stop()
    seconds = (answers["returned"] - answers["started"]) / 1e9
    return {"requests/s": REQUESTS / seconds, "p50 ms": answers["p50"], "p99 ms": answers["p99"], **meter_figures}


def _post(system: NexusInView | CeleryInView, requests: int) -> tuple[dict[str, float], dict[str, float]]:
    system.ledger.clear()
    with system.posting(requests) as client:
        meter, began = Meter(system.web_parts()), time.monotonic()
        answers = client.go(TIMEOUT)
        wait_until(lambda: len(system.ledger) >= requests, TIMEOUT, "every message to be handled", interval=0.02)
        used = meter.read(time.monotonic() - began)
    return answers, used.figures(requests)
