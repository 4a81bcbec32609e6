"""The number by which a prepared transaction's fate is asked for, over a crash of its database."""

from __future__ import annotations

from contextlib import nullcontext

import psycopg
import pytest

from messaging.models import BranchState
from messaging.testing.servers.nodes import PostgresNode
from messaging.transactions.two_phase import prepared


def test_a_number_is_not_given_to_another_transaction_after_a_crash() -> None:
    """What was noted and never prepared is aborted, whatever committed since."""
    noted: list[str] = []
    with PostgresNode(settings={"max_prepared_transactions": "10", "wal_writer_delay": "10s"}) as node:

        def die_with(number: str) -> None:
            noted.append(number)
            node.kill()

        with (
            psycopg.connect(node.url(), autocommit=True) as connection,
            psycopg.connect(node.url(), autocommit=True) as second,
            pytest.raises(psycopg.OperationalError),
        ):
            prepared.prepare(connection, second, "x", lambda: None, die_with, nullcontext, 5.0)
        node.start()
        with psycopg.connect(node.url(), autocommit=True) as connection:
            assert prepared.finish(connection, "x", noted[0], commit=False) == (BranchState.ABORTED, "")
            for _ in range(3):
                connection.execute("SELECT pg_current_xact_id()")
            assert prepared.finish(connection, "x", noted[0], commit=False) == (BranchState.ABORTED, "")
