"""A send in a transaction of its own: what may happen between what is said before it, its two messages, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from messaging.api import NotAuthorized
from messaging.log import rows
from messaging.log.literals import literal
from messaging.models import Delivery, Message, Workflow
from messaging.security.access import store
from messaging.security.access.policy import Effect, Grant, Policy
from messaging.sending import outbox, stored
from tests.support.lab import Lab

NO_WEB = Policy(grants=(Grant(name="no-web", effect=Effect.DENY, sender="web", recipient="a"),))
WEB = Policy(grants=(Grant(name="web", effect=Effect.ALLOW, sender="web", recipient="a"),))


@pytest.fixture
def workflow(lab: Lab) -> UUID:
    """Of a bus that has sent: it knows the policy that held."""
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    return workflow


@pytest.fixture
def on_postgres(database_vendor: str) -> None:
    if database_vendor != "postgres":
        pytest.skip("SQLite is no server: a send has no message of several statements")


def assert_sent(workflow: UUID, count: int) -> None:
    """So many messages, all with a delivery, and no hole."""
    numbers = Message.objects.filter(workflow=workflow).order_by("sequence").values_list("sequence", flat=True)
    assert list(numbers) == list(range(1, count + 1))
    assert Delivery.objects.filter(workflow=workflow).count() == count
    assert Workflow.objects.get(pk=workflow).sequence == count


@contextmanager
def at_commit(statement: str) -> Iterator[None]:
    """Run a statement of PL/pgSQL where a transaction that stored a message commits."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE FUNCTION at_commit() RETURNS trigger AS $$BEGIN {statement}; RETURN NULL; END$$ LANGUAGE plpgsql"
        )
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON nexus_message DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION at_commit()"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION at_commit CASCADE")


@pytest.mark.usefixtures("on_postgres")
def test_a_policy_that_changes_after_it_was_asked_decides(
    lab: Lab, workflow: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that a policy of before allowed is stored under the next."""
    asked: list[bool] = []

    def change_and_choose(*arguments: Any) -> Any:
        store.save_policy(NO_WEB, "anna")
        asked.append(True)
        return choose_keys(*arguments)

    choose_keys = outbox.choose_keys  # between what is said without a transaction, and the transaction
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "choose_keys", change_and_choose)
        with pytest.raises(NotAuthorized, match="no-web"):
            lab.send(workflow, "a")
    assert asked
    assert_sent(workflow, 1)
    with pytest.raises(NotAuthorized, match="no-web"):
        lab.send(workflow, "a")


def test_a_policy_that_allows_more_than_the_one_known_last_counts_at_once(lab: Lab, workflow: UUID) -> None:
    store.save_policy(NO_WEB, "anna")
    with pytest.raises(NotAuthorized):
        lab.send(workflow, "a")
    store.save_policy(WEB, "anna")
    lab.send(workflow, "a")
    assert_sent(workflow, 2)


@pytest.mark.usefixtures("on_postgres")
def test_what_the_commit_refuses_is_not_sent(lab: Lab, workflow: UUID) -> None:
    lab.take_offered()
    with at_commit("RAISE EXCEPTION 'not this one' USING ERRCODE = 'integrity_constraint_violation'"):
        with pytest.raises(IntegrityError, match="not this one"):
            lab.send(workflow, "a")
        assert connection.get_autocommit()
        assert not connection.in_atomic_block
        assert not lab.take_offered()
    assert_sent(workflow, 1)
    lab.send(workflow, "a")
    assert_sent(workflow, 2)


@pytest.mark.usefixtures("on_postgres")
def test_a_connection_that_is_lost_at_the_commit_is_an_error_and_the_next_send_has_another(
    lab: Lab, workflow: UUID
) -> None:
    lab.take_offered()
    with at_commit("PERFORM pg_terminate_backend(pg_backend_pid())"):
        with pytest.raises(OperationalError):
            lab.send(workflow, "a")
        assert not lab.take_offered()
    assert_sent(workflow, 1)
    lab.send(workflow, "a")
    assert_sent(workflow, 2)


def test_whoever_is_told_after_the_commit_sees_it_and_may_use_the_database(
    lab: Lab, workflow: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def look(told: frozenset[UUID]) -> None:
        assert connection.get_autocommit()
        with transaction.atomic(durable=True):
            seen.append((Message.objects.filter(workflow__in=told).count(), len(lab.take_offered())))

    lab.take_offered()
    monkeypatch.setattr(stored, "_listeners", [look])
    lab.send(workflow, "a")
    assert seen == [(2, 0)], "it is published after those were told"
    assert len(lab.take_offered()) == 1


@pytest.mark.usefixtures("on_postgres")
def test_a_send_within_a_transaction_stays_in_it(lab: Lab, workflow: UUID) -> None:
    with transaction.atomic():
        lab.send(workflow, "a")
        assert rows.fetch("SELECT pg_current_xact_id_if_assigned()")[0][0] is not None
        transaction.set_rollback(True)
    assert_sent(workflow, 1)


@pytest.mark.usefixtures("on_postgres", "lab")
@pytest.mark.parametrize("conforming", ["on", "off"])
def test_values_come_as_they_are(conforming: str) -> None:
    """Whatever a text holds, it stays one value."""
    texts = ["plain", "it's", "\\", "\\'; DROP TABLE nexus_message; --", "''", "ü€😀", "$1 $$", "%s", "\n\t"]
    with transaction.atomic():
        rows.execute(f"SET LOCAL standard_conforming_strings = {conforming}")
        for text in texts:
            assert rows.fetch_each(f"SELECT {literal(text)}::text")[0] == [(text,)]
        identifier = uuid4()
        assert rows.fetch_each(f"SELECT {literal(identifier)}::uuid, {literal(-7)}")[0] == [(identifier, -7)]
    with pytest.raises(ValueError, match="NUL"):
        literal("a\0b")
