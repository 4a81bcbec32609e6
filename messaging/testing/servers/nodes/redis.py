"""A private Redis."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from messaging.testing.servers.nodes.base import Node


class RedisNode(Node):
    """A private Redis on a free loopback port.

    Args:
        durable: write every command to disk before answering, so that `kill()` loses nothing; off, it keeps nothing.
    """

    service = "Redis"
    apt_package = "redis-server"

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__()
        self._durable = durable

    @classmethod
    def missing(cls) -> str | None:
        """Why Redis cannot run here, or None."""
        if shutil.which("redis-server") is None:
            return f"redis-server is not installed (Debian: apt-get install {cls.apt_package})"
        return None

    @property
    def data_folder(self) -> Path:
        """The folder of the append-only file."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """For REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.data_folder),
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "always",
        }
        return ["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
            connection.settimeout(1)
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
