"""Bodies without an end, sent by strangers to a real uvicorn: Django would keep them whole before anybody looks."""

from __future__ import annotations

import http.client
import socket
from contextlib import suppress

import pytest

from tests.acceptance.conftest import Install

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PIECE = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
PIECES = 800
"""50 MiB in all."""
PLACES = ["/admin/login/", "/api/workflows", "/a2a/teams/any", "/nowhere"]


def send_pieces(address: str, path: str, headers: str) -> tuple[int, str, int]:
    """Send pieces until the server has enough of it; return its status and answer, and how many it took."""
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n"
        connection.sendall(head.encode())
        taken = 0
        with suppress(ConnectionError):
            while taken < PIECES:
                connection.sendall(PIECE if "chunked" in headers else b"x" * 0x10000)
                taken += 1
        response = http.client.HTTPResponse(connection)
        with suppress(ConnectionError):  # what was on its way was refused with the connection
            response.begin()
            return response.status, response.read().decode(), taken
        return 0, "", taken


@pytest.mark.parametrize("headers", ["Transfer-Encoding: chunked\r\n", f"Content-Length: {PIECES << 16}\r\n"])
def test_a_body_that_does_not_end_is_not_kept(install_embedded: Install, headers: str) -> None:
    web = install_embedded().web(asgi=True)
    for path in PLACES:
        status, answer, taken = send_pieces(web, path, headers)
        assert taken < PIECES // 4, f"{path} took {taken} pieces"
        assert (status, "At most" in answer) in {(413, True), (0, False)}, path
    connection = http.client.HTTPConnection(web.removeprefix("http://"), timeout=30)
    connection.request("GET", "/health/live")
    assert connection.getresponse().status == 200
