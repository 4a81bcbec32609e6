"""A thread whose database session was ended works again, and tells the others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from django.db import DEFAULT_DB_ALIAS, InternalError, OperationalError, connection, connections, transaction
from psycopg.pq import TransactionStatus

from agents.chat.hosts.durable import DurableHost
from agents.chat.hosts.host import ChatView
from agents.chat.rules.definitions import TeamDefinition
from messaging.api import ReliableCommunicationBus, ReplyTimeout
from messaging.directory import names as directory
from messaging.directory.names import save_registered_agents
from messaging.log import rows
from messaging.models import Agent, Workflow
from messaging.receiving.database import DatabaseUnavailable, check_database
from messaging.sending import durable
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.chats.helpers import members
from tests.support.stepping import Offers

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _only_postgres(database_vendor: str) -> None:
    if database_vendor != "postgres":
        pytest.skip("SQLite has no sessions")


ACTIVE = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"


def session() -> int:
    return int(rows.fetch("SELECT pg_backend_pid()")[0][0])


def close_session() -> None:
    connection.close()


def end(pid: int) -> None:
    """End a session of another thread, and wait until it is gone."""
    rows.fetch("SELECT pg_terminate_backend(%s)", [pid])
    wait_until(lambda: not rows.fetch(ACTIVE, [pid]), 10, "the session to be gone")


def ask_django() -> object:
    return Agent.objects.count()


def ask_the_log() -> object:
    return rows.fetch("SELECT 1")


def ask_in_a_transaction() -> object:
    with transaction.atomic():
        return Agent.objects.count()


@pytest.mark.parametrize("ask", [ask_django, ask_the_log, ask_in_a_transaction])
def test_a_thread_fails_once_at_most(ask: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as thread:
        end(thread.submit(session).result())
        with pytest.raises(OperationalError):
            thread.submit(ask).result()
        thread.submit(ask).result()
        thread.submit(close_session).result()


def test_who_notices_tells_the_others() -> None:
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        sessions = [thread.submit(session).result() for thread in (one, other)]
        for pid in sessions:
            end(pid)
        with pytest.raises(OperationalError):
            one.submit(ask_django).result()
        other.submit(ask_django).result()
        for thread in (one, other):
            thread.submit(close_session).result()


def waiting_program(call: Callable[[], object], reached: threading.Event) -> tuple[object, object]:
    """Run a call in a thread whose session is ended in its midst."""
    pids: list[int] = []

    def run() -> tuple[object, object]:
        pids.append(session())
        try:
            return call(), ask_django()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(run)
        assert reached.wait(10)
        end(pids[0])
        return running.result(30)


def test_a_program_that_waits_for_a_reply_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    reached, find = threading.Event(), durable._find_reply

    def noticed(request: UUID) -> bytes | None:
        found = find(request)
        reached.set()
        return found

    monkeypatch.setattr(durable, "_find_reply", noticed)

    def wait() -> str:
        with pytest.raises(ReplyTimeout):
            durable.DurableBackend().wait_for_reply(uuid4(), 2.0)
        return "waited"

    said, count = waiting_program(wait, reached)
    assert said == "waited"
    assert count == 0


def test_a_program_that_waits_for_a_chat_waits_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "background_publisher", Offers)
    host = DurableHost(ReliableCommunicationBus())
    directory.forget()
    save_registered_agents()
    chat = host.start(TeamDefinition(name="t", members=members("a", "b")), "task", name="t", deduplication_id=None)
    reached, view = threading.Event(), host.view

    def noticed(identifier: UUID) -> ChatView:
        found = view(identifier)
        reached.set()
        return found

    monkeypatch.setattr(host, "view", noticed)
    over, count = waiting_program(lambda: host.settle(chat, 2.0), reached)
    assert over is False
    assert count


def test_a_check_that_another_thread_asks_for_begins_no_transaction() -> None:
    connection: Any = connections[DEFAULT_DB_ALIAS]
    connection.close()
    connection.ensure_connection()  # watched from here on
    connection.health_check_enabled = True
    native = connection.connection
    commit = connection._commit

    def commit_and_ask() -> None:
        commit()
        connection.health_check_done = False

    with patch.object(connection, "_commit", commit_and_ask), transaction.atomic():
        Workflow.objects.create(name="x")
    assert connection.get_autocommit()
    assert native.info.transaction_status == TransactionStatus.IDLE
    assert Workflow.objects.count() == 1
    connection.health_check_enabled = False


def write() -> object:
    return Workflow.objects.create(name="x")


def write_by_the_log() -> object:
    return rows.execute("UPDATE nexus_workflow SET name = name")


def write_in_a_transaction() -> object:
    with transaction.atomic():
        Workflow.objects.count()
        return rows.fetch("SELECT id FROM nexus_workflow FOR UPDATE")


@pytest.mark.parametrize("ask", [write, write_by_the_log, write_in_a_transaction])
def test_a_server_that_takes_no_writes_is_left(ask: Callable[[], object]) -> None:
    """As a standby does, and a primary that was made read-only."""
    before = session()
    rows.execute("SET default_transaction_read_only = on")
    with pytest.raises(OperationalError, match="takes no writes"):
        ask()
    ask()
    assert session() != before


def test_what_is_read_only_by_choice_is_kept() -> None:
    before = session()
    with transaction.atomic():
        rows.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(InternalError, match="read-only transaction"):
            rows.fetch("SELECT id FROM nexus_workflow FOR UPDATE")
        transaction.set_rollback(True)
    assert session() == before


def test_a_server_that_takes_no_writes_counts_as_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is charged with an attempt for it."""
    options: dict[str, Any] = connection.settings_dict["OPTIONS"]
    connection.close()
    with monkeypatch.context() as standby:
        standby.setitem(options, "options", f"{options.get('options', '')} -c default_transaction_read_only=on")
        with pytest.raises(OperationalError, match="takes no writes") as raised:
            write()
        with pytest.raises(DatabaseUnavailable):
            check_database(raised.value)
    check_database(raised.value)
