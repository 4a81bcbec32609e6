"""A private PostgreSQL that follows another one."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from messaging.testing.servers.nodes.postgres import PostgresNode
from messaging.testing.servers.waiting import wait_until

_NAME = "standby"


class StandbyNode(PostgresNode):
    """A streaming standby of a private PostgreSQL, with a replication slot. `promote()` makes it a primary.

    Args:
        primary: runs. It has one standby at most.
    """

    def __init__(self, primary: PostgresNode) -> None:
        super().__init__()
        self._primary = primary

    def _fill_data_folder(self) -> None:
        source = f"{self._primary.url()}?application_name={_NAME}"
        slot = ("--create-slot", "--slot", _NAME)
        self._run_on_data(
            "pg_basebackup", "--dbname", source, "--write-recovery-conf", "--checkpoint", "fast", *slot, "--no-sync"
        )

    def follow(self, *, synchronous: bool = True, timeout: float = 60.0) -> None:
        """Wait until the primary sends what it writes.

        Args:
            synchronous: from then on the primary's commits wait until this one has them on its disk.
            timeout: seconds.

        Raises:
            WaitTimeout: the primary does not send.
        """
        wanted = "sync" if synchronous else "async"
        with psycopg.connect(self._primary.url(), autocommit=True, connect_timeout=5) as primary:
            if synchronous:
                primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{_NAME}'".encode())
                primary.execute("SELECT pg_reload_conf()")
            states = "SELECT state, sync_state FROM pg_stat_replication"
            wait_until(
                lambda: primary.execute(states).fetchall() == [("streaming", wanted)], timeout, f"{self} to follow"
            )

    def promote(self) -> None:
        """Make it a primary, which waits for nobody; returns when it takes writes. Kill the old primary before.

        Raises:
            NodeError: it is none that could be promoted, or takes longer than a minute.
        """
        self._run_on_data("pg_ctl", "promote", "--wait", "--timeout", "60")

    def url_of_both(self, database: str) -> str:
        """For DATABASE_URL: the one of the two servers that takes writes."""
        first, second = (conninfo_to_dict(node.url(database)) for node in (self._primary, self))
        ports = f"port={first['port']},{second['port']}"
        hosts = f"{first['host']},{second['host']}"
        return f"postgresql://{first['user']}@{hosts}/{database}?{ports}&target_session_attrs=read-write"
