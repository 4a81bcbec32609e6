"""A reference to http: and file: opens no socket and no file, watched from outside the library."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from messaging.core.errors import SchemaError
from messaging.security.schemas.compatibility import Coverage, compare
from tests.unit.schemas.making import registry_of

IN_ACCESS, IN_OPEN, IN_NONBLOCK = 0x1, 0x20, 0o4000


@contextmanager
def knocked_at() -> Iterator[tuple[str, Callable[[], bool]]]:
    """A server's address, and whether somebody has connected to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)

        def knocked() -> bool:
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield f"http://127.0.0.1:{server.getsockname()[1]}/schema.json", knocked


@contextmanager
def opened(file: Path) -> Iterator[Callable[[], bool]]:
    """Whether anybody has opened a file, as the kernel sees it."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(IN_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(file), IN_ACCESS | IN_OPEN) >= 0

    def was_opened() -> bool:
        try:
            return bool(os.read(watch, 4096))
        except BlockingIOError:
            return False

    yield was_opened
    os.close(watch)


def references_to(uri: str) -> list[Any]:
    return [
        {"$ref": uri},
        {"$ref": f"{uri}#/$defs/x"},
        {"$dynamicRef": uri},
        {"properties": {"a": {"items": {"$ref": uri}}}},
        {"$defs": {"unused": {"$ref": uri}}},
        {"$id": uri, "properties": {"a": {"$ref": "other.json"}}},
        {"$schema": uri},
        {"$vocabulary": {uri: True}, "$ref": uri},
    ]


def try_all(uri: str) -> None:
    for document in references_to(uri):
        with pytest.raises(SchemaError):
            registry_of(order_v1=document).require("order").validator.is_valid({"a": [1]})
        with pytest.raises(SchemaError):
            compare("order", {1: {}, 2: document}, 2, 1)
        with pytest.raises(SchemaError):
            compare("order", {1: document, 2: {}}, 2, 1)


def test_no_socket_is_opened() -> None:
    with knocked_at() as (uri, knocked):
        socket.create_connection(("127.0.0.1", int(uri.rpartition(":")[2].partition("/")[0]))).close()
        assert knocked(), "the tripwire does not work"
        try_all(uri)
        assert not knocked()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's inotify watches the file")
def test_no_file_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text("{}")
    with opened(file) as was_opened:
        jsonschema_rs.validator_for({"$ref": file.as_uri()})
        assert was_opened(), "the tripwire does not work: the library by itself reads the file"
        try_all(file.as_uri())
        assert not was_opened()


def test_what_a_reference_within_the_schema_names_is_found() -> None:
    document = {"$ref": "#/$defs/x", "$defs": {"x": {"type": "integer"}}}
    assert registry_of(order_v1=document).require("order").validator.is_valid(1)
    assert compare("order", {1: document, 2: document}, 2, 1).answer is Coverage.YES
