"""A private PgBouncer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Literal

import psycopg

from messaging.testing.servers.nodes.base import Node, NodeError
from messaging.testing.servers.nodes.postgres import PostgresNode


def _binary() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


class PgBouncerNode(Node):
    """A private PgBouncer on a free loopback port, in front of a private PostgreSQL, without passwords.

    Args:
        postgres: whose databases it serves.
        pool_mode: what a server connection is lent for.
        pool_size: server connections to each database.
    """

    service = "PgBouncer"
    apt_package = "pgbouncer"
    _not_yet = (psycopg.OperationalError,)

    def __init__(
        self, postgres: PostgresNode, *, pool_mode: Literal["session", "transaction"], pool_size: int = 20
    ) -> None:
        super().__init__()
        self._postgres = postgres
        self._pool_mode = pool_mode
        self._pool_size = pool_size
        self.folder.chmod(0o755)

    @classmethod
    def missing(cls) -> str | None:
        """Why PgBouncer cannot run here, or None."""
        if _binary() is None:
            return f"pgbouncer is not installed (Debian: apt-get install {cls.apt_package})"
        return PostgresNode.missing()

    def _user(self) -> str | None:
        return PostgresNode._unprivileged_user() if os.geteuid() == 0 else None

    @property
    def data_folder(self) -> Path:
        """It keeps nothing."""
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        """For DATABASE_URL."""
        return self._postgres.url(database).replace(f":{self._postgres.port}/", f":{self.port}/")

    def _prepare(self) -> None:
        super()._prepare()
        user = self._postgres.url().partition("//")[2].partition("@")[0]
        (self.folder / "pgbouncer.ini").write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={self._postgres.port} user={user}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = {self._pool_mode}\ndefault_pool_size = {self._pool_size}\nmax_client_conn = 500\n"
        )

    def _command(self) -> list[str]:
        binary = _binary()
        if binary is None:
            raise NodeError("PgBouncer was removed while it was used")
        return [binary, str(self.folder / "pgbouncer.ini")]

    def _answers(self) -> bool:
        with psycopg.connect(self.url(), connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
