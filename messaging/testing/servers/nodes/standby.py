"""A private PostgreSQL that follows another one."""

from __future__ import annotations

from typing import Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from messaging.testing.servers.nodes.postgres import PostgresNode
from messaging.testing.servers.waiting import wait_until

_NAME = "standby"


class StandbyNode(PostgresNode):
    """A streaming standby of a private PostgreSQL, with a replication slot. `promote()` makes it a primary.

    Args:
        primary: runs. It has one standby at most.
        synchronous: the primary's commits wait, from the end of `start()` on, until this one has them on its disk.
    """

    def __init__(self, primary: PostgresNode, *, synchronous: bool = True) -> None:
        super().__init__()
        self._primary = primary
        self._synchronous = synchronous

    def _fill_data_folder(self) -> None:
        source = f"{self._primary.url()}?application_name={_NAME}"
        slot = ("--create-slot", "--slot", _NAME)
        self._run(
            "pg_basebackup", "--dbname", source, "--write-recovery-conf", "--checkpoint", "fast", *slot, "--no-sync"
        )

    def start(self, timeout: float = 90.0) -> Self:
        """Start it, and wait until the primary sends it what it writes.

        Args:
            timeout: seconds for each of the two.

        Raises:
            NodeError: as `PostgresNode.start`.
            WaitTimeout: the primary does not send.
        """
        super().start(timeout)
        wanted = "sync" if self._synchronous else "async"
        with psycopg.connect(self._primary.url(), autocommit=True, connect_timeout=5) as primary:
            if self._synchronous:
                primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'".encode())
                primary.execute("SELECT pg_reload_conf()")
            states = "SELECT state, sync_state FROM pg_stat_replication"
            wait_until(
                lambda: primary.execute(states).fetchall() == [("streaming", wanted)], timeout, f"{self} to follow"
            )
        return self

    def promote(self) -> None:
        """Make it a primary, which waits for nobody; returns when it takes writes. Kill the old primary before.

        Raises:
            NodeError: it is none that could be promoted, or takes longer than a minute.
        """
        self._run("pg_ctl", "promote", "--wait", "--timeout", "60")

    def url_of_both(self, database: str) -> str:
        """For DATABASE_URL: the one of the two servers that takes writes."""
        primary, own = (conninfo_to_dict(node.url(database)) for node in (self._primary, self))
        hosts = "&".join(f"{name}={primary[name]},{own[name]}" for name in ("host", "port"))
        return f"postgresql://{own['user']}@/{database}?{hosts}&target_session_attrs=read-write"
