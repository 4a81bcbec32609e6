"""What traces cost: processor time of a message, off and on in turns. ``TRACING_COST=20`` runs so many rounds."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

from messaging.api import Envelope, HandlerContext
from messaging.core import tracing
from messaging.observing.opentelemetry import OpenTelemetryTracer
from tests.support.lab import Lab

ROUNDS = int(os.environ.get("TRACING_COST", "0"))
WORKFLOWS = 150
AGENTS = ("first", "second", "third")
SAMPLINGS = (None, 0.0, 0.01, 1.0)
"""None: off. 0.01 is what docs/observability.md recommends."""

pytestmark = [
    pytest.mark.skipif(not ROUNDS, reason="TRACING_COST says how many rounds"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(600),
]


@pytest.fixture(autouse=True)
def off_again() -> Iterator[None]:
    yield
    tracing.install(None)


def pass_on(message: Envelope, context: HandlerContext) -> None:
    following = AGENTS.index(context.agent) + 1
    if following < len(AGENTS):
        context.send(AGENTS[following], "bench.leg", message.data)


def spend(lab: Lab) -> float:
    """Microseconds of processor time a message, of a chain through three agents in each workflow."""
    workflows = [lab.workflow() for _ in range(WORKFLOWS)]
    gc.collect()
    began = time.process_time()
    for workflow in workflows:
        lab.bus.send(workflow, "first", "bench.leg", {"text": "hello " * 30}, sender="web")
    lab.settle()
    return (time.process_time() - began) / (WORKFLOWS * len(AGENTS)) * 1e6


def test_one_in_a_hundred_costs_little(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded spans are kept in memory; nothing sends them."""
    for name in AGENTS:
        lab.agent(name, pass_on)
    used: dict[float | None, list[float]] = {sampling: [] for sampling in SAMPLINGS}
    for number in range(ROUNDS + 1):
        turn = number % len(SAMPLINGS)
        for sampling in SAMPLINGS[turn:] + SAMPLINGS[:turn]:  # each is the first one, and the last, as often
            provider = TracerProvider(sampler=ParentBasedTraceIdRatio(sampling or 0.0))
            provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
            monkeypatch.setattr(trace, "get_tracer_provider", lambda provider=provider: provider)
            monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
            tracing.install(None if sampling is None else OpenTelemetryTracer(sampling))
            spent = spend(lab)
            provider.shutdown()
            if number:  # the first round warms up
                used[sampling].append(spent)
    median = {sampling: statistics.median(found) for sampling, found in used.items()}
    more = {
        sampling: statistics.median(on / off - 1 for on, off in zip(found, used[None], strict=True))
        for sampling, found in used.items()
    }
    for sampling in SAMPLINGS:
        name = "off" if sampling is None else f"{sampling:.0%} recorded"
        print(f"{name:>14}: {median[sampling]:.0f} µs a message, {more[sampling]:+.1%}")
    assert more[0.01] < 0.03
