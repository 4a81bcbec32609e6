"""Opening a batch of one message by statements that the session has prepared: as fresh and as sure as without."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import connection, transaction

from messaging import log
from messaging.core.database_options import POOLING_KEY
from messaging.log import prepared, rows
from messaging.models import Delivery, Mailbox
from messaging.testing.servers.waiting import wait_until
from tests.support.lab import Lab

pytestmark = pytest.mark.django_db(transaction=True)

WAITS = "SELECT count(*) > 0 FROM pg_locks WHERE pid = %s AND NOT granted"  # not remembered, as pg_stat_activity is


@pytest.fixture
def delivery(lab: Lab, database_vendor: str) -> Delivery:
    if database_vendor != "postgres":
        pytest.skip("SQLite prepares nothing")
    lab.agent("clerk", lambda message, context: None)
    lab.send(lab.workflow(), "clerk")
    return Delivery.objects.get()


def opened(delivery: Delivery, *, wait: bool = False) -> log.OpenedBatch:
    with transaction.atomic():
        return log.open_batch([delivery.workflow_id], [delivery.pk], wait=wait, lock_wait=50.0)


def sessions_own() -> list[str]:
    """What opening a batch has prepared; sends prepare statements of their own."""
    return [row[0] for row in rows.fetch("SELECT name FROM pg_prepared_statements WHERE name ~ '^nexus_(try_|lo)'")]


def test_what_is_read_is_fresh_after_the_wait_for_the_lock(delivery: Delivery) -> None:
    def elsewhere() -> log.OpenedBatch:
        try:
            for _ in range(7):  # from the sixth time on PostgreSQL uses one plan for all
                opened(delivery, wait=True)
            ready.set_result(rows.fetch("SELECT pg_backend_pid()")[0][0])
            go.result(60)
            return opened(delivery, wait=True)
        finally:
            connection.close()

    ready: Future[int] = Future()
    go: Future[None] = Future()
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(elsewhere)
        pid = ready.result(60)
        with transaction.atomic():
            log.lock_workflows([delivery.workflow_id], wait=True)
            go.set_result(None)
            wait_until(lambda: rows.fetch(WAITS, [pid]) == [(True,)], 60, "the other to wait")
            Delivery.objects.update(state="processed")
            Mailbox.objects.update(processed=1)
        row = found.result(60).deliveries[delivery.pk]
    assert (row.state, row.processed) == ("processed", 1)


def test_a_rollback_takes_nothing_away_for_long(delivery: Delivery) -> None:
    for _ in range(3):
        assert opened(delivery).deliveries.keys() == {delivery.pk}
        rows.fetch("SELECT 1", prepare=True)
        assert len(sessions_own()) == 2
        with transaction.atomic():
            rows.fetch("SELECT 1", prepare=True)
            transaction.set_rollback(True)


def test_plans_are_made_anew_and_old_ones_go(delivery: Delivery) -> None:
    opened(delivery)
    before = sessions_own()
    with patch.object(prepared, "PLANNED_ANEW", -1.0):
        opened(delivery)
    assert len(sessions_own()) == len(before) == 2
    assert not set(sessions_own()) & set(before)


def test_nothing_is_prepared_in_a_session_that_is_not_ours(delivery: Delivery) -> None:
    connection.close()
    with patch.dict(connection.settings_dict, {POOLING_KEY: "transaction"}):
        assert opened(delivery).deliveries[delivery.pk].workflow_id == UUID(str(delivery.workflow_id))
        assert sessions_own() == []
    connection.ensure_connection()
    connection.connection.prepare_threshold = None
    opened(delivery)
    assert sessions_own() == []
    connection.close()
