"""A private Erlang port mapper and cookie, shared by the RabbitMQ nodes of one process."""

from __future__ import annotations

import secrets
import shutil
import socket
import threading
from pathlib import Path
from typing import ClassVar

from messaging.testing.servers.nodes.base import Node


class ErlangPortMapper(Node):
    """epmd on a port of its own, so that our nodes neither use nor start the system's.

    Its folder is the HOME of the nodes and of rabbitmqctl: they find the common cookie there, and can form a cluster.
    """

    service = "epmd"
    apt_package = "rabbitmq-server"
    _shared: ClassVar[ErlangPortMapper | None] = None
    _creating: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def shared(cls) -> ErlangPortMapper:
        """The running port mapper of this process."""
        with cls._creating:
            if cls._shared is None or not cls._shared.running:
                cls._shared = cls().start()
            return cls._shared

    @classmethod
    def missing(cls) -> str | None:
        """Why epmd cannot run here, or None."""
        if shutil.which("epmd") is None:
            return f"Erlang's epmd is not installed (Debian: apt-get install {cls.apt_package})"
        return None

    @property
    def data_folder(self) -> Path:
        """HOME of the Erlang programs, with their cookie."""
        return self.folder / "home"

    def _prepare(self) -> None:
        super()._prepare()
        cookie = self.data_folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(secrets.token_hex(10).upper())
            cookie.chmod(0o400)

    def _command(self) -> list[str]:
        return ["epmd", "-port", str(self.port), "-address", "127.0.0.1"]

    def _answers(self) -> bool:
        socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        return True
