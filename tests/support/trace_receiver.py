"""A receiver of traces by OTLP over HTTP, as a collector has it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """A span as it came over the wire; ids are hexadecimal."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    start: int
    nanoseconds: int
    failed: bool
    schema: str
    attributes: Mapping[str, Any]


class TraceReceiver:
    """Listens on a free port of this host until its block ends."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        received = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                received.extend(
                    _read(span, scope.schema_url)
                    for resource in request.resource_spans
                    for scope in resource.scope_spans
                    for span in scope.spans
                )
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def tree(self, trace: str) -> str:
        """A trace as indented lines: name, kind, milliseconds; what led to it otherwise is named behind it."""
        spans = [span for span in self.spans if span.trace == trace]
        known = {span.id: span for span in spans}
        lines: list[str] = []

        def add(parent: str, depth: int) -> None:
            for span in sorted(spans, key=lambda one: one.start):
                if span.parent == parent or (not parent and span.parent not in known):
                    links = [known[link].name for link in span.links if link in known and link != span.parent]
                    behind = f"   ⇠ {', '.join(links)}" if links else ""
                    lines.append(f"{'  ' * depth}{span.name}  {span.nanoseconds / 1e6:.1f} ms{behind}")
                    add(span.id, depth + 1)

        add("", 0)
        return "\n".join(lines)


def _read(span: Any, schema: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        links=tuple(link.span_id.hex() for link in span.links),
        start=span.start_time_unix_nano,
        nanoseconds=span.end_time_unix_nano - span.start_time_unix_nano,
        failed=span.status.code == 2,
        schema=schema,
        attributes={
            one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in span.attributes
        },
    )
