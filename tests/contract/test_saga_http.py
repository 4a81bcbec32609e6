"""Sagas that call an API outside, over a real HTTP server that fails in the ways that hurt."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from messaging.api import (
    HandlerKind,
    Participant,
    Reservation,
    RetryPolicy,
    Sagas,
    StepFailed,
    StepRequest,
    registry,
    try_confirm_cancel,
)
from tests.support.lab import Lab


class Shop(ThreadingHTTPServer):
    """Does what a key asks for once, and then fails to say so, as often as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ShopHandler)
        self.faults: dict[str, list[str]] = {}
        self.done: dict[str, str] = {}
        self.asked: list[str] = []
        self.released = threading.Event()


class ShopHandler(BaseHTTPRequestHandler):
    """POST /<action>/<what> with an Idempotency-Key."""

    server: Shop

    def do_POST(self) -> None:
        key, shop = self.headers["Idempotency-Key"], self.server
        fault = (shop.faults.get(self.path) or [""]).pop(0)
        shop.asked.append(self.path)
        if fault == "before":
            self.send_error(500)
            return
        shop.done.setdefault(key, self.path)
        if fault == "hang":
            shop.released.wait(10)
        if fault == "after":
            self.send_error(500)
        elif fault in ("drop", "hang"):
            self.connection.close()
        elif fault == "refuse":
            self.send_error(409)
        else:
            body = json.dumps({"id": key}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def shop() -> Iterator[Shop]:
    server = Shop()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    participant = Participant(
        "shop", kind=HandlerKind.LEASED, retry=RetryPolicy(max_attempts=2, base=0.01, cap=0.01)
    ).register()

    def call(request: StepRequest) -> Any:
        path = "/" + urllib.parse.quote(f"{request.message.type}/{request.step}")

        def post(key: str) -> Any:
            address = f"http://127.0.0.1:{server.server_address[1]}{path}"
            asked = urllib.request.Request(address, b"{}", {"Idempotency-Key": key}, method="POST")
            try:
                with urllib.request.urlopen(asked, timeout=0.3) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                if error.code == 409:
                    raise StepFailed("sold out") from None
                raise

        return request.call_outside("post", post)

    participant.does("try", "confirm")(call)
    participant.undoes("cancel")(call)
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    registry.remove("shop")


ORDER = try_confirm_cancel(
    "order",
    *(
        Reservation(name=name, agent="shop", reserve="try", confirm="confirm", cancel="cancel")
        for name in ("room", "car")
    ),
)


@pytest.mark.parametrize("fault", ["before", "after", "drop", "hang"])
def test_whatever_the_server_does_each_thing_is_done_once(lab: Lab, shop: Shop, fault: str) -> None:
    """Three faults: the message is tried again, then the saga asks with another one; the key is the same."""
    shop.faults = {"/try/room": [fault] * 3, "/confirm/car confirmed": [fault]}
    shop.faults = {path.replace(" ", "%20"): faults for path, faults in shop.faults.items()}
    sagas = Sagas(lab.bus)
    saga = sagas.start(ORDER)
    lab.until(lambda: sagas.status(saga).ended, step=1.5)
    assert sagas.status(saga).status == "completed"
    assert shop.asked.count("/try/room") == 4
    assert sorted(shop.done.values()) == [
        "/confirm/car%20confirmed",
        "/confirm/room%20confirmed",
        "/try/car",
        "/try/room",
    ]


def test_what_was_reserved_is_cancelled_when_another_is_refused(lab: Lab, shop: Shop) -> None:
    shop.faults = {"/try/car": ["refuse"], "/cancel/room": ["drop", "after"]}
    sagas = Sagas(lab.bus)
    saga = sagas.start(ORDER)
    lab.until(lambda: sagas.status(saga).ended, step=1.5)
    assert sagas.status(saga).status == "compensated"
    assert "/cancel/room" in shop.done.values()
    assert len(shop.done) == 3, "keys of a step and of its undo differ"
    assert not any(path.startswith("/confirm") for path in shop.asked)
