"""Two-phase commit over two real databases of PostgreSQL; the log on both kinds of database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.test import Client
from django.urls import reverse
from psycopg import sql

from messaging.api import (
    BranchRequest,
    CommunicationBus,
    ConfigurationError,
    TwoPhase,
    TwoPhaseView,
    UnknownTransaction,
    VoteNo,
)
from messaging.checks.two_phase import check_participants, check_prepared_transactions
from messaging.models import DeadLetter, JournalEntry, TwoPhaseBranch, TwoPhaseRun
from messaging.testing.servers.nodes import PostgresNode
from messaging.transactions.pruning import prune_two_phase
from messaging.transactions.two_phase import definition, operating, prepared, recovering
from messaging.transactions.two_phase.naming import raise_epoch, xid_prefix
from messaging.transactions.verifying import verify_all
from tests.support.banks import ALIASES, connect, create_banks, in_django, movements, prepared_in
from tests.support.lab import Lab

UNREACHABLE = "postgres://nobody@127.0.0.1:1/none"

Work = Callable[[BranchRequest], object]


def move(request: BranchRequest) -> None:
    """What a participant does: the money leaves bank-a and arrives in bank-b."""
    amount = request.input["amount"] * (-1 if request.participant == "bank-a" else 1)
    request.execute("INSERT INTO movement (run, amount) VALUES (%s, %s)", [str(request.run), amount])


def command(*arguments: str) -> str:
    output = StringIO()
    call_command("nexus_transactions", *arguments, stdout=output)
    return output.getvalue()


class Teller:
    """A two-phase commit between the banks, and how it is seen from outside."""

    def __init__(self, lab: Lab, urls: dict[str, str]) -> None:
        self.lab = lab
        self.urls = urls

    def define(self, a: Work = move, b: Work = move, **options: Any) -> TwoPhase:
        definition.forget("transfer")
        return (
            TwoPhase("transfer", **options)
            .participant("bank-a", database="bank_a", work=a)
            .participant("bank-b", database="bank_b", work=b)
            .register()
        )

    def run(self, a: Work = move, b: Work = move, **options: Any) -> TwoPhaseView:
        run = self.define(a, b, **options).start(self.lab.bus, {"amount": 3})
        self.settle()
        return TwoPhase.status(run)

    def settle(self) -> None:
        self.lab.settle()

    def prepare_only(self, **options: Any) -> UUID:
        """Start a run and let everybody prepare; the votes are not handled."""
        run = self.define(**options).start(self.lab.bus, {"amount": 3})
        for _ in range(6):
            self.lab.publish()
            if all(prepared_in(url) for url in self.urls.values()):
                return run
            self.lab.work()
        raise AssertionError("nobody prepared")

    def moved(self) -> list[list[int]]:
        return [[sum(amounts) for amounts in movements(self.urls[alias]).values()] for alias in ALIASES]

    def left(self) -> list[str]:
        return [xid for url in self.urls.values() for xid in prepared_in(url)]

    def end_by_hand(self, alias: str, statement: str) -> None:
        with connect(self.urls[alias]) as connection:
            (xid,) = prepared_in(self.urls[alias])
            connection.execute(sql.SQL("{} PREPARED {}").format(sql.SQL(statement), sql.Literal(xid)))


@pytest.fixture
def teller(lab: Lab, postgres: PostgresNode) -> Iterator[Teller]:
    urls = create_banks(dict.fromkeys(ALIASES, postgres))
    # What the relay does in a thread of its own, these tests do themselves.
    with in_django(urls), recovering._busy:
        yield Teller(lab, urls)
    definition.forget("transfer")


def test_all_commit(teller: Teller) -> None:
    view = teller.run()
    assert (view.status, set(view.participants.values())) == ("committed", {"committed"})
    assert teller.moved() == [[-3], [3]]
    assert teller.left() == []
    assert teller.lab.bus.workflow_status(view.id) == "completed"
    events = list(JournalEntry.objects.filter(workflow_id=view.id).order_by("number").values_list("event", flat=True))
    assert events == ["begun", "voted", "voted", "decided", "ended", "ended", "closed"]
    assert verify_all()[1] == []


def refuse(request: BranchRequest) -> None:
    move(request)
    raise VoteNo("no such account")


def fail_unseen(request: BranchRequest) -> None:
    """A failed statement, swallowed: PostgreSQL answers PREPARE TRANSACTION with ROLLBACK, and no error."""
    move(request)
    with pytest.raises(psycopg.Error):
        request.execute("SELECT 1 / 0")


def commit_itself(request: BranchRequest) -> None:
    request.execute("SELECT 1")
    assert request.connection is not None
    request.connection.execute("ROLLBACK")
    request.connection.execute("BEGIN")
    move(request)


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (refuse, "bank-b: no such account"),
        (fail_unseen, "The transaction failed"),
        (commit_itself, "ended by the work function"),
        (lambda request: request.execute("SELECT wrong"), "UndefinedColumn"),
        (lambda request: request.execute("NOTIFY x"), "cannot PREPARE a transaction"),
    ],
)
def test_one_no_aborts_all(teller: Teller, work: Work, reason: str) -> None:
    view = teller.run(b=work)
    recovering.recover()
    assert TwoPhase.status(view.id).status == "aborted"
    assert reason in view.reason
    assert teller.moved() == [[], []]
    assert teller.left() == []
    assert not DeadLetter.objects.exists()


def test_the_answer_of_the_server_is_checked_itself(teller: Teller) -> None:
    """A transaction that fails behind the look at its state: the command tag tells it, psycopg does not."""
    with prepared.dedicated("bank_a") as connection, prepared.dedicated("bank_a") as second:

        @contextmanager
        def fail_at_last() -> Iterator[None]:
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT 1 / 0")
            yield

        with pytest.raises(VoteNo, match="answered by ROLLBACK"):
            prepared.prepare(connection, second, "x", lambda: None, lambda number: None, fail_at_last, 5.0)
    assert teller.left() == []


def test_no_decision_in_time_is_an_abort(teller: Teller) -> None:
    run = teller.prepare_only(timeout=30)
    assert len(teller.left()) == 2
    assert recovering.recover() == 0
    assert len(teller.left()) == 2
    teller.lab.clock.advance(40)
    recovering.recover()
    assert TwoPhase.status(run).status == "aborted"
    assert (teller.moved(), teller.left()) == ([[], []], [])
    teller.settle()  # the votes come late, and change nothing
    assert TwoPhase.status(run).status == "aborted"
    assert teller.moved() == [[], []]


def test_a_late_prepare_prepares_nothing(teller: Teller) -> None:
    run = teller.define(timeout=30).start(teller.lab.bus, {"amount": 3})
    teller.lab.publish()
    teller.lab.work()
    teller.lab.clock.advance(40)
    recovering.recover()
    teller.settle()
    assert (TwoPhase.status(run).status, teller.left(), teller.moved()) == ("aborted", [], [[], []])


def decide_and_forget(teller: Teller) -> UUID:
    """A run whose commit is decided, while the participants do not hear of it."""
    run = teller.prepare_only()
    while TwoPhase.status(run).status == "preparing":
        teller.lab.publish()
        teller.lab.work()
    teller.lab.take_offered()
    return run


def test_what_is_decided_is_repeated_until_it_is_done(teller: Teller) -> None:
    run = decide_and_forget(teller)
    teller.lab.clock.advance(10)
    recovering.recover()
    view = TwoPhase.status(run)
    assert (view.status, teller.moved(), teller.left()) == ("committed", [[-3], [3]], [])
    teller.settle()
    assert not DeadLetter.objects.exists()


@pytest.mark.parametrize(("by_hand", "status"), [("ROLLBACK", "heuristic"), ("COMMIT", "committed")])
def test_what_somebody_ended_by_hand_is_visible(teller: Teller, by_hand: str, status: str) -> None:
    run = decide_and_forget(teller)
    teller.end_by_hand("bank_a", by_hand)
    teller.lab.clock.advance(10)
    recovering.recover()
    view = TwoPhase.status(run)
    assert view.status == status
    assert view.participants == {"bank-a": status, "bank-b": "committed"}
    if status == "heuristic":
        assert "it is aborted, not committed" in view.reason


def test_orphans_of_an_ended_run_are_ended(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovering, "ORPHAN_AGE", 0.0)
    run = teller.run().id
    for decision in ("commit", "abort"):
        status = "committed" if decision == "commit" else "aborted"
        TwoPhaseRun.objects.filter(pk=run).update(decision=decision, status=status)
        with connect(teller.urls["bank_a"]) as connection:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO movement VALUES ('orphan', 1)")
            xid = sql.Literal(f"{xid_prefix()}{run.hex}:bank-a")
            connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(xid))
        recovering.recover()
        assert teller.left() == []
    assert movements(teller.urls["bank_a"])["orphan"] == [1]


def test_a_restored_coordinator_lists_what_it_does_not_know_and_ends_nothing(
    teller: Teller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovering, "ORPHAN_AGE", 0.0)
    run = teller.prepare_only()
    TwoPhaseRun.objects.all().delete()
    teller.lab.clock.advance(1_000)
    recovering.recover()
    xids = teller.left()
    assert len(xids) == 2
    output = StringIO()
    call_command("nexus_transactions", "in-doubt", "--json", stdout=output)
    listed = json.loads(output.getvalue())
    assert sorted(each["xid"] for each in listed["in_doubt"]) == sorted(xids)
    assert {(each["status"], each["run"]) for each in listed["in_doubt"]} == {("unknown", str(run))}
    with pytest.raises(CommandError, match="reason"):
        call_command("nexus_transactions", "resolve", xids[0], "--commit", "--reason", " ")
    call_command("nexus_transactions", "resolve", xids[0], "--commit", "--reason", "bank b shows it", stdout=output)
    assert (teller.left(), teller.moved()) == ([], [[-3], [3]])
    assert TwoPhase.status(run).status == "committed"
    assert verify_all()[1] == []
    with pytest.raises(UnknownTransaction, match="was decided: commit"):
        operating.resolve(xids[0], commit=False, reason="x", actor="ann")


def test_what_was_started_before_a_restore_is_not_presumed_aborted(teller: Teller) -> None:
    run = teller.prepare_only(timeout=30)
    raise_epoch()
    teller.lab.clock.advance(100)
    recovering.recover()
    assert TwoPhase.status(run).status == "in_doubt"
    teller.settle()  # the votes
    assert TwoPhase.status(run).status == "in_doubt"
    assert len(teller.left()) == 2
    operating.resolve(teller.left()[0], commit=False, reason="nobody paid", actor="ann")
    assert (TwoPhase.status(run).status, teller.left(), teller.moved()) == ("aborted", [], [[], []])


def test_operators_do_not_commit_what_is_still_voted_on(teller: Teller) -> None:
    teller.prepare_only()
    with pytest.raises(UnknownTransaction, match="not in doubt"):
        operating.resolve(teller.left()[0], commit=True, reason="x", actor="ann")
    with pytest.raises(UnknownTransaction, match="of this installation"):
        operating.resolve("somebody's", commit=True, reason="x", actor="ann")
    run = operating.resolve(teller.left()[0], commit=False, reason="x", actor="ann")
    assert (run.status, teller.left()) == ("aborted", [])


class Printer:
    """An agent that keeps a promise."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refuses = False
        self.failures = 0

    def prepare(self, request: BranchRequest) -> None:
        self.calls.append("prepare")
        if self.refuses:
            raise VoteNo("no paper")

    def commit(self, request: BranchRequest) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise OSError("jammed")
        self.calls.append("commit")

    def abort(self, request: BranchRequest) -> None:
        self.calls.append("abort")


@pytest.mark.parametrize("refuses", [False, True])
def test_an_agent_takes_part(teller: Teller, refuses: bool) -> None:
    printer = Printer()
    printer.refuses, printer.failures = refuses, 1
    definition.forget("transfer")
    tickets = TwoPhase("transfer").participant("bank-a", database="bank_a", work=move)
    tickets.participant("printer", resource=printer).register()
    run = tickets.start(teller.lab.bus, {"amount": 3})
    teller.settle()
    teller.lab.clock.advance(10)
    recovering.recover()
    teller.settle()
    assert printer.calls == ["prepare", "abort"] if refuses else ["prepare", "commit"]
    assert TwoPhase.status(run).status == ("aborted" if refuses else "committed")
    assert teller.moved()[0] == ([] if refuses else [-3])


def test_what_cannot_work_is_refused(teller: Teller, database_vendor: str) -> None:
    transfer = teller.define()
    with pytest.raises(ConfigurationError, match="durable"):
        transfer.start(CommunicationBus())
    with pytest.raises(ConfigurationError, match="bank-a' already"):
        transfer.participant("bank-a", database="bank_a", work=move)
    with pytest.raises(ConfigurationError, match="or resource"):
        transfer.participant("c", database="bank_a")
    with pytest.raises(ConfigurationError, match="has no 'bank_c'"):
        TwoPhase("x").participant("c", database="bank_c", work=move).start(teller.lab.bus)
    with pytest.raises(ConfigurationError, match="not registered"):
        TwoPhase("x").participant("c", database="bank_a", work=move).start(teller.lab.bus)
    if database_vendor == "sqlite":
        with pytest.raises(ConfigurationError, match="SQLite, which cannot keep"):
            TwoPhase("x").participant("c", database="default", work=move).start(teller.lab.bus)


def test_starting_twice_starts_once(teller: Teller) -> None:
    transfer = teller.define()
    first, second = (transfer.start(teller.lab.bus, {"amount": 3}, deduplication_id="t-1") for _ in range(2))
    teller.settle()
    assert first == second
    assert teller.moved() == [[-3], [3]]
    assert TwoPhaseBranch.objects.count() == 2


# --- checks and the admin ---


def test_a_server_without_prepared_transactions_is_told_what_to_set(teller: Teller) -> None:
    teller.define()
    assert check_participants() == []
    assert check_prepared_transactions() == []
    with PostgresNode(durable=False) as plain, in_django({"bank_b": create_banks({"bank_b": plain})["bank_b"]}):
        (error,) = check_prepared_transactions()
        assert error.id == "nexus.E023"
        assert "max_prepared_transactions" in str(error.hint)
        view = teller.run()
        recovering.recover()
        assert TwoPhase.status(view.id).status == "aborted"
        assert "max_prepared_transactions" in view.reason


def test_databases_that_cannot_take_part_are_found(teller: Teller) -> None:
    teller.define()
    connections["bank_a"].settings_dict["NEXUS_POOLING"] = "transaction"
    (warning,) = check_participants()
    assert warning.id == "nexus.W008"
    with in_django({"bank_a": "sqlite:///x"}):
        (error,) = check_participants()
    assert error.id == "nexus.E022"
    assert "SQLite" in error.msg


def test_operators_see_what_is_prepared_in_the_admin(teller: Teller, admin_client: Client) -> None:
    address = reverse("admin:nexus_twophaserun_in_doubt")
    assert "Nothing is prepared" in admin_client.get(address).content.decode()
    run = teller.prepare_only()
    page = admin_client.get(address).content.decode()
    assert reverse("admin:nexus_twophaserun_change", args=[run]) in page
    assert address in admin_client.get(reverse("admin:nexus_twophaserun_changelist")).content.decode()
    TwoPhaseRun.objects.all().delete()
    page = admin_client.get(address).content.decode()
    assert "unknown" in page
    assert all(xid in page for xid in teller.left())
    with patch.object(operating, "postgresql_aliases", return_value=["bank_c"]), in_django({"bank_c": UNREACHABLE}):
        assert "Not asked: bank_c" in admin_client.get(address).content.decode()
    assert Client().get(address).status_code == 302


def test_operators_decide_in_the_admin(teller: Teller, admin_client: Client) -> None:
    run = teller.prepare_only()
    raise_epoch()
    teller.settle()
    changelist = reverse("admin:nexus_twophaserun_changelist")
    assert "in_doubt" in admin_client.get(changelist).content.decode()
    page = admin_client.get(reverse("admin:nexus_twophaserun_change", args=[run])).content.decode()
    assert "Commit …" in page
    assert teller.left()[0] in page
    chosen = {"action": "abort", "_selected_action": str(run)}
    assert "Reason" in admin_client.post(changelist, chosen).content.decode()
    admin_client.post(changelist, {**chosen, "confirmed": "1", "reason": "nobody paid"}, follow=True)
    assert (TwoPhase.status(run).status, teller.left()) == ("aborted", [])
    assert JournalEntry.objects.filter(workflow_id=run, event="decided", actor="admin").exists()


# --- the journal ---


def test_journals_are_written_outside_before_they_are_removed(teller: Teller, tmp_path: Path) -> None:
    file = tmp_path / "checkpoints"
    teller.lab.configure(journal_checkpoints=str(file))
    done, kept = teller.run().id, teller.run().id
    assert "2 journals" in command("checkpoint")
    assert f"{done}  committed" in command("list", "--two-phase", "--status", "committed")
    shown = command("show", str(done))
    assert "bank-a               committed  bank_a" in shown
    assert "decided" in shown
    open_one = teller.prepare_only()
    with connect(teller.urls["bank_a"]) as connection:  # a forgotten part of a run that has ended
        connection.execute("BEGIN")
        connection.execute("INSERT INTO movement VALUES ('x', 1)")
        connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(sql.Literal(f"{xid_prefix()}{kept.hex}:bank-a")))
    teller.lab.clock.advance(60)
    with (
        patch.object(operating, "postgresql_aliases", return_value=["bank_c"]),
        in_django({"bank_c": UNREACHABLE}),
        pytest.raises(ConfigurationError, match="bank_c"),
    ):
        prune_two_phase(timedelta(seconds=30))
    assert prune_two_phase(timedelta(seconds=30)) == 1
    assert set(TwoPhaseRun.objects.values_list("pk", flat=True)) == {kept, open_one}
    assert not JournalEntry.objects.filter(workflow_id=done).exists()
    assert "nothing wrong" in command("verify")
    TwoPhaseRun.objects.filter(pk=kept).delete()
    JournalEntry.objects.filter(workflow_id=kept).delete()
    with pytest.raises(CommandError, match="is none any more"):
        command("verify")
