"""The policy in the database: a change counts at once, is audited, and uses are counted once whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from time import monotonic

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from messaging.core.errors import AccessPolicyError
from messaging.log import access as log
from messaging.models import AccessChange, AccessEpoch, AccessGrant, AccessRole, AccessRoleMember
from messaging.security.access import store
from messaging.security.access.decision import AccessRequest
from messaging.security.access.holding import held_decider, holding_policy
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, PolicyTeam
from messaging.testing.servers.waiting import wait_until
from tests.unit.access.test_policy_files import FULL

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
TEAMS = (PolicyTeam(name="red", agents=("anna",)), PolicyTeam(name="blue", agents=("carl",)))
OPEN = Policy(teams=TEAMS, grants=(Grant(name="open"),))
CLOSED = Policy(teams=TEAMS)
NOTE = AccessRequest("anna", "carl", "note", NOW)


def allowed(count: int = 1) -> list[bool]:
    with transaction.atomic():
        return [one.allowed for one in store.authorize([NOTE] * count)]


def in_thread(pool: ThreadPoolExecutor, work: Callable[[], object]) -> Future[object]:
    def run() -> object:
        try:
            return work()
        finally:
            connection.close()

    return pool.submit(run)


@pytest.mark.django_db
def test_without_rows_everything_is_allowed() -> None:
    assert store.load_policy() == Policy()
    assert allowed() == [True]


@pytest.mark.django_db
def test_what_is_saved_is_loaded() -> None:
    for policy in (FULL, Policy(), FULL, OPEN):
        store.save_policy(policy, "anna")
        assert store.load_policy() == Policy(
            roles=policy.roles,
            teams=tuple(sorted(policy.teams, key=lambda team: team.name)),
            grants=policy.grants,
            defaults=policy.defaults,
        )
    assert AccessEpoch.objects.get().number == 4


@pytest.mark.django_db
def test_a_change_counts_at_once_and_is_audited() -> None:
    store.save_policy(OPEN, "anna")
    assert allowed() == [True]
    store.save_policy(CLOSED, "bert")
    assert allowed() == [False]
    first, last = AccessChange.objects.order_by("pk").first(), AccessChange.objects.order_by("pk").last()
    assert first is not None
    assert last is not None
    assert (first.epoch, first.who, first.kind, first.before) == (1, "anna", "team", None)
    assert (last.epoch, last.who, last.kind, last.name, last.after) == (2, "bert", "grant", "open", None)
    assert last.before == {"name": "open", "effect": "allow"}
    assert str(last) == "#2 grant open: removed by bert"
    count = AccessChange.objects.count()
    store.save_policy(CLOSED, "bert")
    assert (AccessChange.objects.count(), AccessEpoch.objects.get().number) == (count, 2), "nothing changed"


@pytest.mark.django_db
def test_a_batch_reads_only_the_epoch() -> None:
    store.save_policy(FULL, "anna")
    allowed()
    with CaptureQueriesContext(connection) as queries:
        store.current(log.read_epoch())
        store.current(log.read_epoch())
    assert len([one for one in queries if "nexus_access" in one["sql"]]) <= 2  # psycopg's own are not captured


@pytest.mark.django_db
def test_what_was_rolled_back_is_not_remembered() -> None:
    store.save_policy(OPEN, "anna")
    with transaction.atomic():
        store.save_policy(CLOSED, "anna")
        assert allowed() == [False]
        transaction.set_rollback(True)
    assert allowed() == [True]
    store.save_policy(Policy(teams=TEAMS, grants=(Grant(name="other"),)), "anna")  # has the number that CLOSED had
    assert allowed() == [True]


@pytest.mark.django_db
def test_a_change_that_cannot_work_changes_nothing() -> None:
    store.save_policy(FULL, "anna")
    before = store.load_policy()
    with pytest.raises(AccessPolicyError, match=r"circle: clerk → domain\.reader → clerk"), store.change("bert"):
        AccessRole.objects.get(pk="domain.reader").inherits.add(AccessRole.objects.get(pk="clerk"))
    assert store.load_policy() == before
    with pytest.raises(AccessPolicyError, match="needs somebody"):
        store.save_policy(OPEN, " ")
    with store.change("bert"), pytest.raises(AccessPolicyError, match="open already"):
        store.save_policy(OPEN, "bert")


@pytest.mark.django_db
def test_rows_are_changed_inside_a_change_only() -> None:
    store.save_policy(FULL, "anna")
    for row in (AccessGrant.objects.first(), AccessRole.objects.first(), AccessEpoch.objects.first()):
        assert row is not None
        with pytest.raises(AccessPolicyError, match="without an audit"):
            row.save()
        with pytest.raises(AccessPolicyError, match="without an audit"):
            row.delete()
    with store.change("bert"):
        AccessRoleMember.objects.create(role_id="domain.reader", agent="zoe")
    change = AccessChange.objects.latest("pk")
    assert (change.name, change.before, change.after) == ("domain.reader", {"agents": []}, {"agents": ["zoe"]})


@pytest.mark.django_db
def test_rows_that_somebody_broke_allow_nothing_and_can_be_repaired() -> None:
    store.save_policy(OPEN, "anna")
    AccessGrant.objects.update(sender="role:ghost")
    AccessEpoch.objects.update(number=F("number") + 1, token="0" * 32)
    with pytest.raises(AccessPolicyError, match=r"grants\[0\]\.sender: no role is named 'ghost'"):
        allowed()
    store.save_policy(CLOSED, "anna")
    assert allowed() == [False]


@pytest.mark.django_db
def test_uses_are_counted_and_come_back_with_the_transaction() -> None:
    few = Policy(teams=TEAMS, grants=(Grant(name="few", uses=3),))
    store.save_policy(few, "anna")
    with transaction.atomic():
        assert allowed(2) == [True, True]
        transaction.set_rollback(True)
    assert allowed(2) == [True, True]
    assert allowed(2) == [True, False]
    assert allowed() == [False]
    assert store.load_policy().grants[0].uses == 0
    with transaction.atomic():
        assert store.authorize([NOTE._replace(counted=False)])[0].allowed
    assert AccessEpoch.objects.get().number == 1, "counting is no change of the policy"
    with store.change("bert"):
        grant = AccessGrant.objects.get()
        grant.note = "was it enough?"
        grant.save()
    assert (AccessChange.objects.latest("pk").before or {})["uses"] == 0


@pytest.mark.django_db
def test_defaults_are_saved() -> None:
    store.save_policy(Policy(defaults=Defaults(without_team=Effect.DENY)), "anna")
    with transaction.atomic():
        assert not store.authorize([NOTE])[0].allowed


@pytest.mark.django_db(transaction=True)
def test_uses_are_counted_once_by_many(database_vendor: str) -> None:
    grants = (Grant(name="one", uses=20), Grant(name="two", uses=13))
    store.save_policy(Policy(teams=TEAMS, grants=grants), "anna")

    def send() -> int:
        return sum(sum(allowed(3)) for _ in range(4))

    with ThreadPoolExecutor(4) as pool:
        counts = [in_thread(pool, send) for _ in range(4)]
        assert sum(int(str(one.result(60))) for one in counts) == 33
    assert list(AccessGrant.objects.values_list("uses", flat=True)) == [0, 0]


@pytest.mark.django_db(transaction=True)
def test_a_revoke_waits_for_those_who_decided_before_it(database_vendor: str) -> None:
    """What was allowed commits before the revoke does; what comes later waits for it, and is refused."""
    if database_vendor == "sqlite":
        pytest.skip("SQLite has one writer: a batch and a revoke are never open at once")
    store.save_policy(OPEN, "anna")
    order: list[str] = []
    decided, go_on = threading.Event(), threading.Event()

    def handle() -> bool:
        with transaction.atomic():
            answer = store.authorize([NOTE])[0].allowed
            decided.set()
            assert go_on.wait(30)
            order.append("handled")
        return answer

    def revoke() -> None:
        store.save_policy(CLOSED, "anna")
        order.append("revoked")

    with ThreadPoolExecutor(3) as pool:
        first = in_thread(pool, handle)
        assert decided.wait(30)
        revoked = in_thread(pool, revoke)
        wait_until(lambda: waiting() == 1, 30, "the revoke to wait")
        later = in_thread(pool, lambda: allowed())
        wait_until(lambda: waiting() == 2, 30, "the one that came later to wait")
        go_on.set()
        assert first.result(30) is True
        revoked.result(30)
        assert later.result(30) == [False], "its answer is that of the policy after its wait"
    assert order == ["handled", "revoked"]


def waiting() -> int:
    """Sessions that wait for the policy's lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return int(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_nothing_is_handled_after_a_revoke_a_hundred_times(database_vendor: str) -> None:
    """Two handlers write what they did in the transaction that decided; the audit says when the grant went."""
    for number in range(100 if database_vendor == "postgres" else 10):
        store.save_policy(OPEN, "anna")
        revoked = threading.Event()
        late: list[int] = []

        def handle(late: list[int] = late, revoked: threading.Event = revoked, number: int = number) -> None:
            deadline = monotonic() + 60
            while monotonic() < deadline:
                revoked.wait(0.0005)  # SQLite's lock is not fair: without a pause the revoke would starve
                with transaction.atomic():
                    over = revoked.is_set()  # set only after the commit
                    if not store.authorize([NOTE])[0].allowed:
                        return
                    if over:
                        late.append(number)
            raise AssertionError("the revoke was never seen")

        with ThreadPoolExecutor(2) as pool:
            handlers = [in_thread(pool, handle) for _ in range(2)]
            store.save_policy(CLOSED, "bert")
            revoked.set()
            for one in handlers:
                one.result(60)
        assert late == []


@pytest.mark.django_db(transaction=True)
def test_what_one_thread_holds_is_not_held_by_another() -> None:
    """Web servers send from many threads at once, each in a transaction of its own."""
    asked: list[object] = []

    def ask() -> None:
        try:
            asked.append(held_decider())
        except AccessPolicyError as error:
            asked.append(error)
        finally:
            connection.close()

    with transaction.atomic(), holding_policy():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(20)
        assert held_decider() is None, "there is no policy"
    assert [type(one) for one in asked] == [AccessPolicyError]
