"""The real code against a plain model: hypothesis sends, drops, doubles, shuffles, fails, crashes, pauses and replays.

What must hold is written down in ``Model``, in a few lines of plain Python. HYPOTHESIS_PROFILE=thorough runs many more
examples with new seeds; a failure prints how to repeat it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pytest_django.fixtures import Settings

from messaging import log
from messaging.api import Envelope, HandlerContext, Outgoing, RetryPolicy, TerminalError, WorkflowClosed
from messaging.core.errors import ReplayError
from messaging.models import DeadLetter, Delivery, Mailbox, Workflow
from messaging.receiving import consumer
from messaging.receiving.transactional import execution
from messaging.sending import outbox
from tests.support.database import committed_database, empty_tables
from tests.support.lab import Lab
from tests.support.ledger import read
from tests.support.stepping import Died

__all__ = ["committed_database"]
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
AGENTS = ("a", "b", "slow")
GROUP = "team"
PATIENT = RetryPolicy(max_attempts=4, base=1.0, cap=5.0)


class Model:
    """What was sent, and what may become of it."""

    def __init__(self) -> None:
        self.sent: dict[UUID, dict[str, list[int]]] = {}
        self.next_sequence: dict[UUID, int] = {}
        self.scripts: dict[tuple[UUID, int], str] = {}
        self.skipping: set[UUID] = set()
        self.ended: set[UUID] = set()

    def start(self, workflow: UUID, *, skip: bool) -> None:
        self.sent[workflow] = defaultdict(list)
        self.next_sequence[workflow] = 1
        if skip:
            self.skipping.add(workflow)

    def send(self, workflow: UUID, recipients: tuple[str, ...], script: str) -> int:
        number = self.next_sequence[workflow]
        self.next_sequence[workflow] += 1
        for recipient in recipients:
            self.sent[workflow][recipient].append(number)
        self.scripts[workflow, number] = script
        return number


class Machine(RuleBasedStateMachine):
    """Each example has a database without rows and a broker of its own."""

    make_lab: Callable[[], Lab]

    def __init__(self) -> None:
        super().__init__()
        empty_tables()
        self.lab = type(self).make_lab()
        self.model = Model()
        self.workflows: list[UUID] = []
        self.transport: list[log.StoredDelivery] = []
        for agent in AGENTS:
            self.lab.agent(agent, self.handle, leased=agent == "slow", retry=PATIENT)
        self.lab.bus.create_group(GROUP, AGENTS)

    def teardown(self) -> None:
        try:
            self.settle_everything()
        finally:
            self.lab.close()

    # --- what handlers do: as their message says ---

    def handle(self, message: Envelope, context: HandlerContext) -> None:
        script = str(message.data)
        if script == "flaky" and context.attempt < 3:
            raise ValueError("not yet")
        if script == "poison" and not self.healed:
            raise TerminalError("never")
        if script == "answer":
            context.send("web", "test.answer", "thanks")
        if script == "bus" and context.agent != "slow":
            self.lab.bus.send(message.workflow_id, "web", "test.answer", "thanks", sender=context.agent)

    healed = False

    def workflow(self, pick: int) -> UUID:
        """One of the workflows."""
        return self.workflows[pick % len(self.workflows)]

    # --- rules ---

    @initialize()
    def begin(self) -> None:
        self.start(skip=False)

    @rule(skip=st.booleans())
    @precondition(lambda self: len(self.workflows) < 3)
    def start(self, skip: bool) -> None:
        workflow = self.lab.workflow(failure_policy="skip" if skip else "park")
        self.workflows.append(workflow)
        self.model.start(workflow, skip=skip)

    @rule(
        pick=st.integers(0, 2),
        recipients=st.lists(st.sampled_from([*AGENTS, GROUP]), min_size=1, max_size=6),
        script=st.sampled_from(["fine", "fine", "fine", "flaky", "poison", "answer", "bus"]),
    )
    def send(self, pick: int, recipients: list[str], script: str) -> None:
        workflow = self.workflow(pick)
        burst = [
            Outgoing(workflow_id=workflow, source="web", recipient=recipient, type="test.message", data=script)
            for recipient in recipients
        ]
        try:
            receipts = self.lab.bus.send_many(burst)
        except WorkflowClosed:
            assert workflow in self.model.ended
            return
        for recipient, receipt in zip(recipients, receipts, strict=True):
            self.model.next_sequence[workflow] = receipt.sequence  # answers of handlers took numbers in between
            self.model.send(workflow, AGENTS if recipient == GROUP else (recipient,), script)
        self.transport += self.lab.take_offered()

    # What is drawn must not depend on the system, whose threads and clocks never run alike: hence numbers for choices.

    @rule(picks=st.lists(st.integers(0, 99), max_size=20))
    def deliver(self, picks: list[int]) -> None:
        """Some of what is under way arrives, in any order, some of it twice."""
        if self.transport:
            self.lab.put(self.transport[pick % len(self.transport)] for pick in picks)
        self.lab.work(2)
        self.transport += self.lab.take_offered()

    @rule()
    def publish_all(self) -> None:
        self.lab.publish(self.transport)
        self.transport = []
        self.lab.work(2)

    @rule()
    def lose_transport(self) -> None:
        """The publishing process dies with all that it had not published, and the broker loses its queues."""
        self.transport = []
        self.lab.lose_queues()

    @rule(point=st.sampled_from(["receive", "handler", "number", "close", "commit", "acknowledge"]))
    def crash(self, point: str) -> None:
        self.lab.put(self.transport[:10])
        targets: dict[str, tuple[Any, str]] = {
            "receive": (consumer, "settle_batch"),
            "handler": (execution, "run_handler"),
            "number": (outbox, "make"),
            "close": (log, "close_batch"),
            "commit": (execution, "release_held"),
            "acknowledge": (self.lab.broker, "acknowledge"),
        }
        owner, name = targets[point]
        with patch.object(owner, name, side_effect=Died), suppress(Died):
            self.lab.consumer.step()
        self.lab.restart_consumer()

    @rule(seconds=st.sampled_from([0.5, 4.0, 12.0, 35.0, 70.0]))
    def relay(self, seconds: float) -> None:
        self.lab.relay_turn(after=seconds)
        self.lab.work()

    @rule(pick=st.integers(0, 2), action=st.sampled_from(["pause_workflow", "resume_workflow"]))
    def operate(self, pick: int, action: str) -> None:
        with suppress(WorkflowClosed):
            getattr(self.lab.bus, action)(self.workflow(pick))

    @rule(pick=st.integers(0, 2))
    @precondition(lambda self: len(self.workflows) > 1)
    def cancel(self, pick: int) -> None:
        workflow = self.workflow(pick)
        with suppress(WorkflowClosed):
            self.lab.bus.cancel_workflow(workflow)
        self.model.ended.add(workflow)

    @rule(pick=st.integers(0, 99), replay=st.booleans(), heal=st.booleans())
    def decide(self, pick: int, replay: bool, heal: bool) -> None:
        letters = list(DeadLetter.objects.filter(status="open").order_by("pk").values_list("pk", flat=True))
        if not letters:
            return
        self.healed = heal
        with suppress(ReplayError):
            (self.lab.replay if replay else self.lab.discard)(letters[pick % len(letters)])

    # --- what always holds ---

    @invariant()
    def nothing_is_handled_twice(self) -> None:
        assert self.lab.ledger.doubles() == []

    @invariant()
    def only_what_was_sent_is_handled_and_in_order(self) -> None:
        handled: dict[tuple[UUID, str], list[int]] = defaultdict(list)
        for entry in read():
            handled[entry.workflow, entry.agent].append(entry.sequence)
        for (workflow, agent), sequences in handled.items():
            assert set(sequences) <= set(self.model.sent[workflow][agent])
            in_turn = [number for number in sequences if not self.may_be_late(workflow, number)]
            assert in_turn == sorted(in_turn)
            if workflow not in self.model.skipping and workflow not in self.model.ended:
                # Nothing is left out but poison that an operator gave up.
                before = [number for number in self.model.sent[workflow][agent] if number < max(sequences)]
                left_out = set(before) - set(sequences)
                assert all(self.model.scripts[workflow, number] == "poison" for number in left_out)

    def may_be_late(self, workflow: UUID, number: int) -> bool:
        """A replay comes late where its place was given up: under the skip policy."""
        return self.model.scripts[workflow, number] == "poison" and workflow in self.model.skipping

    @invariant()
    def mailboxes_count_right(self) -> None:
        for mailbox in Mailbox.objects.exclude(agent="web"):
            positions = Delivery.objects.filter(mailbox=mailbox).order_by("position")
            assert list(positions.values_list("position", flat=True)) == list(range(1, mailbox.sent + 1))
            waiting = positions.filter(state__in=["pending", "sent", "held", "leased"], position__lte=mailbox.processed)
            late = set(waiting.values_list("message__sequence", flat=True))
            assert all(self.model.scripts[mailbox.workflow_id, number] == "poison" for number in late)

    # --- at the end ---

    def settle_everything(self) -> None:
        """An operator comes by three times, puts every dead letter back and lets every workflow go on."""
        self.healed = True
        for _ in range(3):
            for letter in DeadLetter.objects.filter(status="open"):
                with suppress(ReplayError):
                    self.lab.replay(letter.pk)
            for workflow in self.workflows:
                with suppress(WorkflowClosed):
                    self.lab.bus.resume_workflow(workflow)
            # What waits behind a message that died meanwhile goes on with the next visit.
            with suppress(AssertionError):
                self.lab.settle(rounds=100)
        assert self.lab.waiting() == []
        self.nothing_is_handled_twice()
        self.only_what_was_sent_is_handled_and_in_order()
        for workflow in set(self.workflows) - self.model.ended:
            assert Workflow.objects.get(pk=workflow).status == "running"
            for delivery in Delivery.objects.filter(workflow=workflow).exclude(agent="web"):
                gone = delivery.state == "dead" and delivery.dead_letters.filter(status="discarded").exists()
                assert delivery.state == "processed" or gone, f"{delivery} was lost"
            for agent in ("a", "b"):
                kept = Delivery.objects.filter(workflow=workflow, agent=agent, state="processed")
                handled = self.lab.ledger.handled(workflow, agent)
                assert sorted(handled) == sorted(kept.values_list("message__sequence", flat=True))


PROFILE = hypothesis_settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "400")) if THOROUGH else 12,
    stateful_step_count=40 if THOROUGH else 25,
    deadline=None,
    derandomize=not THOROUGH,
    database=None,
    print_blob=True,
    phases=(Phase.generate,) if not THOROUGH else (Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(1_800 if THOROUGH else 120)
def test_the_system_agrees_with_the_model(committed_database: None, settings: Settings) -> None:
    patches = pytest.MonkeyPatch()

    def make_lab() -> Lab:
        patches.undo()
        return Lab(settings, patches, max_attempts=4)

    Machine.make_lab = staticmethod(make_lab)
    try:
        run_state_machine_as_test(Machine, settings=PROFILE)
    finally:
        patches.undo()
