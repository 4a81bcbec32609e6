"""A real HTTP server that plays a language model's API, counts what is called, and holds callers at gates.

POST /v1/chat/completions   answers as its script says, in the OpenAI format, whole or streamed
POST /count/<name>          counts; answers {"n": how often this name was counted}
GET  /gate/<name>           answers once the gate is open
"""

from __future__ import annotations

import contextlib
import json
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from messaging.testing.servers.waiting import wait_until

GATE_TIMEOUT = 60.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How the API answers one request.

    Args:
        text: what the model says.
        tool_calls: (id, name, arguments) that it wants called.
        status: anything but 200 sends ``body`` as the error.
        headers: further headers.
        body: sent as it is, instead of a proper answer.
        cut_after: bytes of the body after which the connection is closed.
        gate: wait for this gate before answering.
        stall_after: bytes of the body after which nothing more comes until the gate ``stalled`` opens.
        usage: whether tokens are counted.
    """

    text: str = ""
    tool_calls: tuple[tuple[str, str, str], ...] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_after: int | None = None
    gate: str = ""
    stall_after: int | None = None
    usage: bool = True


@dataclass
class Request:
    """A request that the API got."""

    body: dict[str, Any]
    headers: dict[str, str]


class ModelServer:
    """See the module. Use it as a context manager.

    Args:
        script: the answers in order, the last one for ever after; or a function of the request.
    """

    def __init__(self, script: list[Answer] | Callable[[Request], Answer] | None = None) -> None:
        self.script: list[Answer] | Callable[[Request], Answer] = script or [Answer(text="hello")]
        self.requests: list[Request] = []
        self.counts: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()
        self._gates: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI-compatible client takes."""
        return f"{self.url}/v1"

    def open(self, *gates: str) -> None:
        """Let those through who wait at the gates, and everybody after them."""
        for gate in gates:
            self.gate(gate).set()

    def gate(self, name: str) -> threading.Event:
        """A gate, closed at first."""
        with self._lock:
            return self._gates.setdefault(name, threading.Event())

    def wait_at(self, gate: str, timeout: float = 30.0) -> None:
        """Wait until somebody waits at a gate."""
        wait_until(lambda: self.waiting[gate] > 0, timeout, f"somebody at the gate {gate}")

    def wait_for(self, count: int, gate: str, timeout: float = 30.0) -> None:
        """Wait until a gate was reached this often."""
        wait_until(lambda: self.waiting[gate] >= count, timeout, f"{count} at the gate {gate}")

    def __enter__(self) -> ModelServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for gate in list(self._gates.values()):
            gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    # --- in the server's threads ---

    def count(self, name: str) -> int:
        """Count a call."""
        with self._lock:
            self.counts[name] += 1
            return self.counts[name]

    def pass_gate(self, name: str) -> None:
        """Wait at a gate."""
        with self._lock:
            self.waiting[name] += 1
        self.gate(name).wait(GATE_TIMEOUT)

    def next_answer(self, request: Request) -> Answer:
        """What the script says."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests) - 1
        if callable(self.script):
            return self.script(request)
        return self.script[min(number, len(self.script) - 1)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, owner: ModelServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.server.owner.pass_gate(self.path.rpartition("/")[2])
            self._send(200, b"{}", {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with contextlib.suppress(ConnectionError):
            if self.path.startswith("/count/"):
                counted = self.server.owner.count(self.path.rpartition("/")[2])
                self._send(200, json.dumps({"n": counted}).encode(), {})
            else:
                self._answer(Request(json.loads(body), {k.lower(): v for k, v in self.headers.items()}))

    def _answer(self, request: Request) -> None:
        answer = self.server.owner.next_answer(request)
        if answer.gate:
            self.server.owner.pass_gate(answer.gate)
        if answer.status != 200 or answer.body is not None:
            body = answer.body if answer.body is not None else b'{"error": {"message": "no"}}'
            self._send(answer.status, body, answer.headers, cut_after=answer.cut_after)
        elif request.body.get("stream"):
            body = b"".join(stream_lines(answer))
            headers = {"content-type": "text/event-stream", **answer.headers}
            self._send(200, body, headers, cut_after=answer.cut_after, stall_after=answer.stall_after)
        else:
            self._send(200, whole(answer), answer.headers, cut_after=answer.cut_after)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str],
        *,
        cut_after: int | None = None,
        stall_after: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.flush()
        if stall_after is not None:
            self.wfile.write(body[:stall_after])
            self.wfile.flush()
            self.server.owner.pass_gate("stalled")
            body = body[stall_after:]
        self.wfile.write(body if cut_after is None else body[:cut_after])
        self.wfile.flush()
        if cut_after is not None:
            self.close_connection = True


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}
        for identifier, name, arguments in answer.tool_calls
    ]


def whole(answer: Answer) -> bytes:
    """A complete answer in the OpenAI format."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.tool_calls:
        message["tool_calls"] = _calls(answer)
    reason = "tool_calls" if answer.tool_calls else "stop"
    body: dict[str, Any] = {"model": "played", "choices": [{"message": message, "finish_reason": reason}]}
    if answer.usage:
        body["usage"] = {"prompt_tokens": 11, "completion_tokens": 7}
    return json.dumps(body).encode()


def stream_lines(answer: Answer) -> Iterator[bytes]:
    """An answer in pieces: three letters of text, or of a call's arguments, at a time."""

    def event(delta: dict[str, Any], reason: str | None = None) -> bytes:
        data = {"model": "played", "choices": [{"delta": delta, "finish_reason": reason}]}
        return b"data: " + json.dumps(data).encode() + b"\n\n"

    yield b": keep-alive\n\n"
    for start in range(0, len(answer.text), 3):
        yield event({"content": answer.text[start : start + 3]})
    for index, (identifier, name, arguments) in enumerate(answer.tool_calls):
        yield event({"tool_calls": [{"index": index, "id": identifier, "function": {"name": name, "arguments": ""}}]})
        for start in range(0, len(arguments), 3):
            piece = arguments[start : start + 3]
            yield event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield event({}, "tool_calls" if answer.tool_calls else "stop")
    if answer.usage:
        yield b'data: {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}\n\n'
    yield b"data: [DONE]\n\n"


def call_count(url: str, name: str) -> int:
    """Count a call, from an agent."""
    with urllib.request.urlopen(f"{url}/count/{name}", data=b"", timeout=10) as response:
        return int(json.load(response)["n"])


def wait_gate(url: str, name: str) -> None:
    """Wait at a gate, from an agent."""
    with urllib.request.urlopen(f"{url}/gate/{name}", timeout=GATE_TIMEOUT) as response:
        response.read()
