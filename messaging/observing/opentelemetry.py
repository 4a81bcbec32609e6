"""Tracing with OpenTelemetry. Imported only where ``NEXUS_TRACING`` is on.

A provider that the project has set is used as it is. Otherwise one is made at the first span of each process, from the
standard ``OTEL_*`` variables; it exports by OTLP over HTTP where one of them names an endpoint.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import Token
from functools import lru_cache

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from messaging.core import trace_names as names
from messaging.core import tracing
from messaging.core.tracing import Attributes, Kind

logger = logging.getLogger("nexus.tracing")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_KINDS: dict[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class OpenTelemetrySpan:
    """A span of OpenTelemetry; see ``messaging.core.tracing.Span``."""

    __slots__ = ("recording", "span", "traceparent")

    def __init__(self, span: trace.Span, traceparent: str = "") -> None:
        self.span = span
        self.recording = span.is_recording()
        self.traceparent = traceparent or _traceparent(span.get_span_context())

    def note(self, attributes: Attributes) -> None:
        if self.recording:
            self.span.set_attributes(attributes)

    def end(self) -> None:
        self.span.end()


class _UnrecordedParent(NonRecordingSpan):
    """Of a trace that nobody records; it knows how it is written."""

    def __init__(self, traceparent: str) -> None:
        super().__init__(_context(traceparent))
        self.traceparent = traceparent


class _Passing:
    """A block within a span; quicker than a generator."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._token: Token[Context] | None = None

    def __enter__(self) -> None:
        self._token = otel_context.attach(trace.set_span_in_context(self._span))

    def __exit__(self, *raised: object) -> None:
        if self._token is not None:
            otel_context.detach(self._token)


class OpenTelemetryTracer:
    """See ``messaging.core.tracing.Tracer``.

    Args:
        sampling: the share of new traces that are recorded, from 0 to 1; OTEL_TRACES_SAMPLER counts more.
    """

    def __init__(self, sampling: float) -> None:
        self._sampling = sampling
        self._lock = threading.Lock()
        self._pid = 0
        self._tracer: trace.Tracer | None = None

    def current(self) -> str | None:
        span = trace.get_current_span()
        if type(span) is _UnrecordedParent:
            return span.traceparent
        context = span.get_span_context()
        return _traceparent(context) if context.is_valid else None

    def start(
        self, name: str, kind: Kind, attributes: Attributes, parent: str | None, links: Sequence[str]
    ) -> OpenTelemetrySpan:
        if parent is not None and not tracing.is_sampled(parent):  # decided where the trace began
            return OpenTelemetrySpan(_unrecorded(parent), parent)
        ambient = None if parent is None else trace.set_span_in_context(NonRecordingSpan(_context(parent)))
        return OpenTelemetrySpan(
            self._here().start_span(
                name,
                ambient,
                kind=_KINDS[kind],
                attributes=attributes,
                links=[Link(_context(link)) for link in links],
                record_exception=False,
            )
        )

    @contextmanager
    def within(
        self, name: str, kind: Kind, attributes: Attributes, parent: str | None, links: Sequence[str]
    ) -> Iterator[OpenTelemetrySpan]:
        span = self.start(name, kind, attributes, parent, links)
        token = otel_context.attach(trace.set_span_in_context(span.span))
        try:
            yield span
        except BaseException as error:
            if span.recording:
                span.span.set_status(Status(StatusCode.ERROR))
                span.note({names.ERROR_TYPE: type(error).__qualname__})
            raise
        finally:
            otel_context.detach(token)
            span.end()

    def passing(self, parent: str) -> AbstractContextManager[object]:
        return _Passing(_unrecorded(parent))

    def flush(self, timeout: float) -> None:
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider) and self._pid == os.getpid():
            provider.force_flush(int(timeout * 1000))

    def _here(self) -> trace.Tracer:
        """The tracer of this process."""
        if self._tracer is None or self._pid != os.getpid():
            with self._lock:
                if self._tracer is None or self._pid != os.getpid():
                    if not isinstance(trace.get_tracer_provider(), TracerProvider):
                        trace.set_tracer_provider(self._new_provider())
                    self._tracer = trace.get_tracer(names.SCOPE, schema_url=names.SCHEMA_URL)
                    self._pid = os.getpid()
        return self._tracer

    def _new_provider(self) -> TracerProvider:
        sampler = None if os.environ.get("OTEL_TRACES_SAMPLER") else ParentBasedTraceIdRatio(self._sampling)
        provider = TracerProvider(sampler=sampler, resource=_resource())
        if any(os.environ.get(name) for name in ENDPOINTS):
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        else:
            logger.warning("Traces go nowhere: set %s, or a TracerProvider of your own.", ENDPOINTS[1])
        return provider


def install(sampling: float) -> None:
    """Trace from now on.

    Args:
        sampling: see ``OpenTelemetryTracer``.
    """
    tracing.install(OpenTelemetryTracer(sampling))


def _resource() -> Resource:
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create(None if named else {"service.name": "nexus"})


@lru_cache(maxsize=1024)
def _unrecorded(traceparent: str) -> _UnrecordedParent:
    return _UnrecordedParent(traceparent)  # all messages of such a trace have the same one


def _context(traceparent: str) -> SpanContext:
    flags = TraceFlags(int(traceparent[53:55], 16))
    return SpanContext(int(traceparent[3:35], 16), int(traceparent[36:52], 16), is_remote=True, trace_flags=flags)


def _traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
