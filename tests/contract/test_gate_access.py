"""The access policy at the gate, on both databases: decided on send, and again in the transaction that handles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from messaging import log
from messaging.api import CommunicationBus, Envelope, HandlerContext, NotAuthorized
from messaging.core.errors import AccessPolicyError
from messaging.core.outcome import Outcome
from messaging.log import access, rows
from messaging.models import AccessGrant, DeadLetter, Delivery, Message, Workflow
from messaging.security.access import holding, store
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, Role
from messaging.sending.in_process import InProcessBackend
from tests.support.lab import Lab

TYPE = "test.message"
NO_WEB_TO_A = Policy(grants=(Grant(name="no-web", effect=Effect.DENY, sender="web", recipient="a"),))


def hold(policy: Policy) -> None:
    store.save_policy(policy, "anna")


def processed(workflow: UUID) -> list[int]:
    done = Delivery.objects.filter(workflow=workflow, state="processed").order_by("position")
    return list(done.values_list("position", flat=True))


# --- sending ---


def test_a_refusal_names_the_rule_and_the_way_to_its_role(lab: Lab) -> None:
    roles = (Role(name="base", agents=("web",)), Role(name="clerk", agents=("web",), inherits=("base",)))
    hold(Policy(roles=roles, grants=(Grant(name="no-clerks", effect=Effect.DENY, sender="role:clerk"),)))
    lab.agent("a")
    workflow = lab.workflow()
    with pytest.raises(NotAuthorized) as refused:
        lab.send(workflow, "a")
    text = str(refused.value)
    assert text.startswith(f"web → a: {TYPE}: refused by the grant 'no-clerks' (web → clerk).")
    assert f"nexus_access explain web a {TYPE}" in text
    assert not Message.objects.exists()
    assert Workflow.objects.get(pk=workflow).sequence == 0


def test_a_group_is_decided_for_each_member_and_sent_to_all_or_none(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("b")
    lab.bus.create_group("all", ["a", "b"])
    workflow = lab.workflow()
    hold(NO_WEB_TO_A)
    with pytest.raises(NotAuthorized, match=r"web → a \(in group all\)"):
        lab.send(workflow, "all")
    assert not Delivery.objects.exists()
    lab.send(workflow, "b")
    lab.settle()
    assert lab.ledger.handled(workflow, "b") == [1]


@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("by_bus", [False, True])
def test_what_a_handler_may_not_send_is_its_failure(lab: Lab, leased: bool, by_bus: bool) -> None:
    def forward(message: Envelope, context: HandlerContext) -> None:
        if by_bus:
            lab.bus.send(message.workflow_id, "b", TYPE, sender="a")
        else:
            context.send("b", TYPE)

    lab.agent("a", forward, leased=leased)
    lab.agent("b")
    hold(Policy(grants=(Grant(name="no", effect=Effect.DENY, sender="a"),)))
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.settle()
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.error) == ("handler_error", "NotAuthorized")
    assert Message.objects.count() == 1


def test_uses_are_counted_when_it_is_sent_and_not_when_it_is_handled(lab: Lab) -> None:
    lab.agent("a")
    closed = Defaults(without_team=Effect.DENY)
    hold(Policy(defaults=closed, grants=(Grant(name="two", sender="web", recipient="a", uses=2),)))
    workflow = lab.workflow()
    with transaction.atomic():
        lab.send(workflow, "a")
        transaction.set_rollback(True)
    lab.take_offered()
    lab.send(workflow, "a")
    lab.send(workflow, "a")
    with pytest.raises(NotAuthorized, match="used up"):
        lab.send(workflow, "a")
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert AccessGrant.objects.get().uses == 0


def test_a_timer_uses_a_grant_up_once_when_it_is_due(lab: Lab) -> None:
    lab.agent("a")
    closed = Defaults(without_team=Effect.DENY)
    hold(Policy(defaults=closed, grants=(Grant(name="one", sender="web", recipient="a", uses=1),)))
    workflow = lab.workflow()
    lab.send(workflow, "a", delay=30)
    assert AccessGrant.objects.get().uses == 1
    lab.relay_turn(after=31)
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]
    assert AccessGrant.objects.get().uses == 0


# --- receiving ---


@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize("policy", ["park", "skip"])
def test_what_was_allowed_when_it_was_sent_is_refused_when_it_is_handled(lab: Lab, leased: bool, policy: str) -> None:
    """In the middle of a batch: what stands before it is handled, what stands behind waits or goes on, as always."""
    lab.agent("a", leased=leased)
    lab.agent("b")
    lab.bus.register_agent("other")
    workflow, second = lab.workflow(failure_policy=policy), lab.workflow()
    lab.bus.send(workflow, "a", TYPE, sender="other")
    lab.send(workflow, "a")
    lab.bus.send(workflow, "a", TYPE, sender="other")
    lab.send(second, "b")
    hold(NO_WEB_TO_A)
    lab.settle()
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.agent) == ("not_authorized", "a")
    assert "refused by the grant 'no-web'" in letter.detail
    assert lab.ledger.handled(second, "b") == [1]
    assert processed(workflow) == ([1] if policy == "park" else [1, 3])
    assert Workflow.objects.get(pk=workflow).status == ("parked" if policy == "park" else "running")
    hold(Policy())
    lab.replay(letter.pk)
    lab.settle()
    assert processed(workflow) == [1, 2, 3]


def test_a_grant_that_goes_while_a_leased_handler_runs(lab: Lab) -> None:
    """The handler has run; nothing that it left is stored."""

    def revoke(message: Envelope, context: HandlerContext) -> None:
        context.state["seen"] = True
        context.send("b", TYPE)
        hold(NO_WEB_TO_A)

    lab.agent("a", revoke, leased=True)
    lab.agent("b")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.publish()
    assert lab.work(2)[Outcome.DEAD] == 1
    assert DeadLetter.objects.get().reason == "not_authorized"
    assert Message.objects.count() == 1
    assert lab.states(workflow) == ["dead"]


def test_a_group_message_is_refused_for_the_member_alone(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("b")
    lab.bus.create_group("all", ["a", "b"])
    workflow = lab.workflow(failure_policy="skip")
    lab.send(workflow, "all")
    hold(NO_WEB_TO_A)
    lab.settle()
    assert DeadLetter.objects.get().agent == "a"
    assert lab.ledger.handled(workflow, "b") == [1]
    assert lab.ledger.handled(workflow, "a") == []


def test_a_failing_batch_is_decided_anew(lab: Lab) -> None:
    """A stop that was rolled back with its transaction is forgotten."""

    def fail(message: Envelope, context: HandlerContext) -> None:
        if context.attempt == 1:
            raise ValueError("once")

    lab.agent("a")
    lab.agent("b", fail)
    refused, failing = lab.workflow(), lab.workflow()
    lab.send(refused, "a")
    lab.send(failing, "b")
    hold(NO_WEB_TO_A)
    lab.settle()
    assert DeadLetter.objects.get().workflow_id == refused
    assert lab.ledger.handled(failing, "b") == [1]


def test_rows_that_are_no_policy_stop_everything_and_kill_nothing(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.publish()
    hold(Policy(grants=(Grant(name="fine"),)))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE nexus_access_grant SET sender = 'role:nobody'")
        cursor.execute("UPDATE nexus_access_epoch SET number = number + 1")
    assert lab.work() == {Outcome.RETRY: 1}
    with pytest.raises(AccessPolicyError, match="nobody"):
        lab.send(workflow, "a")
    assert Delivery.objects.get().attempts == 0
    hold(Policy())
    lab.settle()
    assert lab.ledger.handled(workflow, "a") == [1]


# --- what it costs ---


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    asked: list[None] = []

    def counting(real: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **options: Any) -> Any:
            asked.append(None)
            return real(*args, **options)

        return count

    with monkeypatch.context() as patch:
        patch.setattr(holding, "hold_epoch", counting(access.hold_epoch))
        patch.setattr(log, "open_batch", counting(log.open_batch))
        yield asked


def test_a_batch_asks_once_whatever_is_done_in_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(message: Envelope, context: HandlerContext) -> None:
        context.send("b", TYPE)
        lab.bus.send(message.workflow_id, "b", TYPE, sender="a")

    lab.agent("a", forward)
    lab.agent("b")
    workflow = lab.workflow()
    for _ in range(5):
        lab.send(workflow, "a")
    first, *others = lab.take_offered()
    lab.publish(others)
    lab.work()  # held: they are successors then
    lab.publish([first])
    with counted(monkeypatch) as asked, CaptureQueriesContext(connection) as queries:
        lab.work()
    assert lab.ledger.handled(workflow, "a") == [1, 2, 3, 4, 5]
    assert len(asked) == 1
    assert not [one for one in queries if "nexus_access_grant" in one["sql"]]


def test_nobody_decides_without_holding_the_policy(lab: Lab) -> None:
    with pytest.raises(AccessPolicyError, match="holding_policy"):
        holding.held_decider()
    with transaction.atomic(), holding.holding_policy():
        assert holding.held_decider() is None
        if rows.on_postgres():
            held = rows.fetch("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            assert held[0][0] == 1


# --- in process ---


def test_the_in_process_bus_decides_by_its_own_policy() -> None:
    bus = CommunicationBus(InProcessBackend(NO_WEB_TO_A))
    got: list[UUID] = []
    for name in ("a", "b"):
        bus.register_agent(name, lambda message, context: got.append(message.message_id))
    bus.register_agent("web")
    workflow = bus.start_workflow("test")
    with pytest.raises(NotAuthorized, match="no-web"):
        bus.send(workflow, "a", TYPE, sender="web")
    bus.send(workflow, "b", TYPE, sender="web")
    assert len(got) == 1
