"""A real HTTP server that plays a remote agent of A2A 1.0, counts what it did, and fails when it is told to."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

State = tuple[str, str]
"""State of a task, and what the remote says."""


class PlayedRemote:
    """See the module. Use it as a context manager.

    Args:
        play: message → state after each look at it; the first is that of SendMessage's answer.
    """

    def __init__(self, play: Callable[[dict[str, Any]], list[State]]) -> None:
        self.play = play
        self.worked: list[dict[str, Any]] = []
        self.received: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.faults: list[Callable[[Any], None]] = []
        self.endpoint = ""
        self.version = "1.0"
        self._tasks: dict[str, list[State]] = {}
        self._by_message: dict[str, str] = {}
        self._server = _RemoteServer(("127.0.0.1", 0), _RemoteHandler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> PlayedRemote:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    # --- in the server's threads ---

    def card(self) -> dict[str, Any]:
        url = self.endpoint or f"{self.url}/rpc"
        interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": self.version}
        return {"name": "remote", "supportedInterfaces": [{"url": "x", "protocolBinding": "GRPC"}, interface]}

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.received.append(body["method"])
        params = body["params"]
        if body["method"] == "GetTask":
            return {"result": self._task(params["id"])}
        message = params["message"]
        if message.get("taskId") and message["taskId"] not in self._tasks:
            return {"error": {"code": -32001, "message": "Task not found"}}
        task = self._by_message.get(message["messageId"])
        if task is None:
            self.worked.append(message)
            task = self._by_message[message["messageId"]] = message.get("taskId") or f"task-{len(self.worked)}"
            self._tasks[task] = self.play(message)
        return {"result": {"task": self._task(task)}}

    def forget_tasks(self) -> None:
        """Know no task any more."""
        self._tasks.clear()

    def _task(self, task: str) -> dict[str, Any]:
        states = self._tasks[task]
        state, text = states.pop(0) if len(states) > 1 else states[0]
        words = {"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": text}]}
        shown: dict[str, Any] = {"id": task, "contextId": "context-1", "status": {"state": f"TASK_STATE_{state}"}}
        if state == "COMPLETED":
            shown["artifacts"] = [{"artifactId": "a", "parts": [{"text": text}, {"data": {"n": len(self.worked)}}]}]
        else:
            shown["status"]["message"] = words
        return shown


class _RemoteServer(ThreadingHTTPServer):
    daemon_threads = True
    owner: PlayedRemote


class _RemoteHandler(BaseHTTPRequestHandler):
    server: _RemoteServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.reply(200, self.server.owner.card() if self.path == "/.well-known/agent-card.json" else {})

    def do_POST(self) -> None:
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        owner.headers.append({name.lower(): value for name, value in self.headers.items()})
        answer = owner.answer(body)
        with contextlib.suppress(ConnectionError):
            if owner.faults:
                owner.faults.pop(0)(self)  # after the work was done
            else:
                self.reply(200, {"jsonrpc": "2.0", "id": body["id"], **answer})

    def reply(self, status: int, body: Any, **headers: str) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(encoded)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(encoded)
