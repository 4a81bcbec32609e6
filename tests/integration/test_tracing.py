"""Traces in one process: what is sampled, what is rolled back, and that nothing happens while they are off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.db import transaction
from django.test import Client
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

from messaging.api import Envelope, HandlerContext, TerminalError
from messaging.core import tracing
from messaging.core.envelope import parse_envelope
from messaging.models import Message
from messaging.observing.opentelemetry import OpenTelemetryTracer
from tests.support.lab import Lab


class Switch:
    """A tracer whose sampler a test chooses."""

    def __init__(self, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exporter = exporter
        self._monkeypatch = monkeypatch

    def on(self, sampler: Sampler) -> None:
        provider = TracerProvider(sampler=ParentBased(sampler))
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self._monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
        self._monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
        tracing.install(OpenTelemetryTracer(1.0))

    def names(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]

    def spans(self, name: str) -> list[str]:
        return [found for found in self.names() if found == name]


@pytest.fixture
def switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Switch]:
    yield Switch(InMemorySpanExporter(), monkeypatch)
    tracing.install(None)


def test_what_is_not_sampled_stays_one_trace_and_costs_no_span(lab: Lab, switch: Switch) -> None:
    lab.agent("a", lambda message, context: context.send("b", "t"))
    lab.agent("b")
    switch.on(ALWAYS_OFF)
    lab.bus.send(lab.bus.start_workflow("w"), "a", "t", sender="web")
    switch.on(ALWAYS_ON)  # the worker's sampler is not asked: where the trace began it was decided
    lab.settle()
    first, second = (read(message) for message in Message.objects.order_by("sequence"))
    assert switch.names() == []
    assert first is not None
    assert not tracing.is_sampled(first)
    assert second == first


def test_rolled_back_failed_and_off(lab: Lab, switch: Switch) -> None:
    def fail(message: Envelope, context: HandlerContext) -> None:
        context.send("web", "t")
        raise TerminalError("s3cret")

    lab.agent("fails", fail)
    switch.on(ALWAYS_ON)
    workflow = lab.bus.start_workflow("w")
    with transaction.atomic():
        lab.bus.send(workflow, "fails", "t", sender="web")
        transaction.set_rollback(True)
    assert switch.names() == [], "nothing was sent"
    lab.bus.send(workflow, "fails", "t", sender="web", delay=5.0)
    lab.relay_turn(after=10)
    lab.settle()
    assert switch.spans("create fails") == ["create fails"]
    assert switch.spans("create web") == [], "its handler failed"
    spans = switch.exporter.get_finished_spans()
    (failed,) = [span for span in spans if span.name == "process fails"]
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "TerminalError"
    assert "s3cret" not in repr([span.to_json() for span in spans])

    tracing.install(None)
    count = len(switch.names())
    lab.bus.send(lab.bus.start_workflow("w2"), "web", "t", sender="web")
    assert read(Message.objects.order_by("created_at").last()) is None
    assert len(switch.names()) == count


def test_a_request_has_an_id_and_goes_on_with_the_trace_of_its_caller(db: None, switch: Switch) -> None:
    switch.on(ALWAYS_OFF)
    came_with = f"00-{'a' * 32}-{'b' * 16}-01"
    answer = Client().get("/health/ready", headers={"traceparent": came_with, "x-request-id": "r-1"})
    assert answer["X-Request-Id"] == "r-1"
    (span,) = switch.exporter.get_finished_spans()
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == "a" * 32
    assert dict(span.attributes or {})["http.route"] == "/health/ready"
    forged = Client().get("/health/ready", headers={"traceparent": "x", "x-request-id": "a b\n"})
    assert forged["X-Request-Id"] not in ("", "a b\n")
    assert len(switch.names()) == 1


def test_nothing_is_imported_while_it_is_off(project_environment: dict[str, str]) -> None:
    code = (
        "import django, sys; django.setup(); import messaging.web.urls, messaging.receiving.worker;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=project_environment, timeout=60).returncode == 0


def read(message: Message | None) -> str | None:
    """The traceparent of a message."""
    assert message is not None
    return parse_envelope(bytes(message.envelope), max_bytes=10_000).traceparent
