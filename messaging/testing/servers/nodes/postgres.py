"""A private PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from messaging.testing.servers.certificates import ServerCertificate
from messaging.testing.servers.nodes.base import Node, NodeError

_SUPERUSER = "nexus"


def _binaries() -> Path | None:
    """The folder of initdb and postgres; Debian keeps them off the PATH, the newest version wins."""
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(versions, key=lambda folder: int(folder.parent.name), default=None)


class PostgresNode(Node):
    """A private PostgreSQL on a free loopback port, without passwords.

    Args:
        durable: False turns fsync off, which is faster and loses committed rows when the *machine* stops; keep it
            True wherever `kill()` is part of the test or commits are measured.
        settings: further server settings, as in postgresql.conf.
        certificate: speak TLS too, with clients that want it.
    """

    service = "PostgreSQL"
    apt_package = "postgresql"
    _stop_signal = signal.SIGINT  # "fast shutdown": ends the sessions, then stops in good order
    _not_yet = (psycopg.OperationalError,)

    def __init__(
        self,
        *,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        certificate: ServerCertificate | None = None,
    ) -> None:
        super().__init__()
        relaxed = {} if durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        self._settings = {"max_connections": "200", **relaxed, **(settings or {})}
        self._certificate = certificate
        self.folder.chmod(0o755)

    @classmethod
    def missing(cls) -> str | None:
        """Why PostgreSQL cannot run here, or None."""
        if _binaries() is None:
            return f"PostgreSQL's initdb is not installed (Debian: apt-get install {cls.apt_package})"
        if os.geteuid() == 0 and cls._unprivileged_user() is None:
            return "PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as"
        return None

    @staticmethod
    def _unprivileged_user() -> str | None:
        names = {entry.pw_name for entry in pwd.getpwall()}
        return next((name for name in ("postgres", "nobody") if name in names), None)

    def _user(self) -> str | None:
        return self._unprivileged_user() if os.geteuid() == 0 else None

    @property
    def data_folder(self) -> Path:
        """PGDATA."""
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        """For DATABASE_URL. `create_database()` makes the database."""
        return f"postgresql://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Create an empty database, replacing one of that name.

        Returns:
            Its URL.
        """
        self.drop_database(name)
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions in it; nothing happens when there is none."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def dump(self, database: str, file: Path) -> None:
        """Back up a database, beside whatever uses it.

        Raises:
            NodeError: pg_dump failed.
        """
        self._run(["pg_dump", "--format=custom", "--compress=0", f"--file={file}", self.url(database)], user=None)

    def restore(self, database: str, file: Path) -> None:
        """Put a backup in the place of a database, ending the sessions in it.

        Raises:
            NodeError: pg_restore failed.
        """
        url = self.create_database(database)
        self._run(["pg_restore", "--exit-on-error", "--no-owner", f"--dbname={url}", str(file)], user=None)

    def terminate_sessions(self, database: str) -> None:
        """Cut every connection to a database, as a failover would."""
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=5) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,)
            ).fetchall()

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=5) as connection:
            connection.execute(statement)

    def _prepare(self) -> None:
        if (self.data_folder / "PG_VERSION").exists():
            return
        self.data_folder.mkdir(mode=0o700)
        user = self._user()
        if user is not None:
            shutil.chown(self.data_folder, user)
        self._prepare_tls(user)
        self._fill_data_folder()

    def _fill_data_folder(self) -> None:
        options = ["--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        self._run_on_data("initdb", "--username", _SUPERUSER, *options)

    def _run_on_data(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs on the data folder, as the user of the server."""
        self._run([program, *arguments, "-D", str(self.data_folder)], user=self._user())

    def _run(self, command: Sequence[str], *, user: str | None) -> None:
        program, *arguments = command
        done = subprocess.run(
            [str(self._folder_of_binaries() / program), *arguments],
            cwd=self.folder,
            user=user,
            extra_groups=[] if user else None,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode != 0:
            raise NodeError(f"{program} failed: {done.stdout}{done.stderr}")

    def _prepare_tls(self, user: str | None) -> None:
        """Give the server a key that it alone may read: it takes no other."""
        if self._certificate is None:
            return
        for name, source in (("tls.pem", self._certificate.certificate), ("tls.key", self._certificate.key)):
            own = self.folder / name
            shutil.copyfile(source, own)
            own.chmod(0o600)
            if user is not None:
                shutil.chown(own, user)
        self._settings |= {
            "ssl": "on",
            "ssl_cert_file": str(self.folder / "tls.pem"),
            "ssl_key_file": str(self.folder / "tls.key"),
        }

    def tls_url(self, host: str, authority: Path, database: str = "postgres") -> str:
        """For DATABASE_URL, with TLS.

        Args:
            host: as the client calls the server: "127.0.0.1" or "localhost".
            authority: whom the client trusts.
            database: its name.
        """
        query = f"sslmode=verify-full&sslrootcert={quote(str(authority), safe='')}"
        return f"postgresql://{_SUPERUSER}@{host}:{self.port}/{database}?{query}"

    @staticmethod
    def _folder_of_binaries() -> Path:
        folder = _binaries()
        if folder is None:
            raise NodeError("PostgreSQL was removed while it was used")
        return folder

    def _command(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._folder_of_binaries() / "postgres"), "-D", str(self.data_folder), *options]

    def _answers(self) -> bool:
        with psycopg.connect(self.url(), connect_timeout=2) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
