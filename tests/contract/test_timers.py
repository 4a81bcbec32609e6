"""Messages with a delay, on both databases: numbered when due, sent once, gone with their workflow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import call_command
from django.utils import timezone

from messaging import log
from messaging.api import (
    CommunicationBus,
    Envelope,
    EnvelopeError,
    HandlerContext,
    ReliableCommunicationBus,
    UnknownAgent,
    WorkflowClosed,
    schedule,
    unschedule,
)
from messaging.core.cron import parse_cron
from messaging.core.errors import ConfigurationError
from messaging.models import Delivery, DeliveryState, Message, Schedule, Timer, TimerState
from messaging.recovery.relay import Relay
from messaging.sending import sending_due
from messaging.sending.sending_due import send_due_timers
from tests.support.lab import Lab


def sent_data(workflow: UUID) -> list[Any]:
    """The data of a workflow's messages, in the order of their numbers."""
    from messaging.core.envelope import parse_envelope

    found = Message.objects.filter(workflow=workflow).order_by("sequence").values_list("envelope", flat=True)
    return [parse_envelope(bytes(body), max_bytes=10**6).data for body in found]


def test_a_timer_is_numbered_when_it_is_due_and_nothing_waits_for_it(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    receipt = lab.bus.send(workflow, "a", "test.message", "later", sender="web", delay=60)
    assert (receipt.sequence, receipt.due_at is not None) == (0, True)
    lab.send(workflow, "a", "now")
    lab.publish()
    lab.work()
    assert lab.all_processed(workflow)
    lab.relay_turn(after=59)
    assert sent_data(workflow) == ["now"]
    lab.relay_turn(after=2)
    assert sent_data(workflow) == ["now", "later"]
    lab.settle(step=0.1)
    assert lab.ledger.handled(workflow, "a") == [1, 2]
    assert not Timer.objects.exists()


def test_a_handler_sends_later_and_at_a_time(lab: Lab) -> None:
    at = timezone.now() + timedelta(seconds=100)

    def handle(message: Envelope, context: HandlerContext) -> None:
        if message.data is None:
            context.send("a", "test.message", "after 200 s", delay=200)
            context.send("a", "test.message", "at", at=at)

    lab.agent("a", handle)
    workflow = lab.workflow()
    lab.send(workflow, "a")
    lab.publish()
    lab.work()
    assert sorted(Timer.objects.values_list("source", "recipient")) == [("a", "a"), ("a", "a")]
    lab.relay_turn(after=101)
    lab.relay_turn(after=100)
    assert sent_data(workflow) == [None, "at", "after 200 s"]


def test_a_rolled_back_handler_leaves_no_timer(lab: Lab) -> None:
    def handle(message: Envelope, context: HandlerContext) -> None:
        context.send("a", "test.message", delay=10)
        raise ValueError

    lab.agent("a", handle)
    lab.send(lab.workflow(), "a")
    lab.publish()
    lab.work()
    assert not Timer.objects.exists()


def test_two_relays_send_it_once(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a", "x", delay=1)
    lab.clock.advance(2)
    due = log.due_timers(timezone.now(), 10)
    assert sending_due._send(due) == 1
    assert sending_due._send(due) == 0, "the other relay found the same timer before it was sent"
    assert sent_data(workflow) == ["x"]


def test_a_cancelled_timer_is_not_sent(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    receipt = lab.bus.send(workflow, "a", "test.message", sender="web", delay=1)
    assert lab.bus.cancel_timer(receipt.id)
    assert not lab.bus.cancel_timer(receipt.id)
    lab.relay_turn(after=2)
    assert sent_data(workflow) == []


@pytest.mark.parametrize("end", ["cancel", "complete", "expire"])
def test_timers_end_with_their_workflow(lab: Lab, end: str) -> None:
    lab.agent("a")
    workflow = lab.workflow(deadline=5)
    lab.send(workflow, "a", delay=20)
    if end == "expire":
        lab.relay_turn(after=6)
    elif end == "cancel":
        lab.bus.cancel_workflow(workflow)
    else:
        lab.bus.complete_workflow(workflow)
    assert not Timer.objects.exists()


def test_what_a_handler_sends_later_into_the_workflow_that_it_ends_is_not_sent(lab: Lab) -> None:
    def handle(message: Envelope, context: HandlerContext) -> None:
        lab.bus.complete_workflow(context.workflow_id)
        context.send("a", "test.message", "never", delay=5)

    lab.agent("a", handle)
    workflow = lab.workflow()
    lab.send(workflow, "a", "first")
    lab.publish()
    lab.work()
    lab.relay_turn(after=10)
    assert (sent_data(workflow), Timer.objects.count()) == (["first"], 0)


def test_a_deduplication_id_counts_for_timers_and_messages(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    first = lab.bus.send(workflow, "a", "test.message", sender="web", delay=5, deduplication_id="x")
    again = lab.bus.send(workflow, "a", "test.message", sender="web", deduplication_id="x")
    assert (again.id, again.duplicate) == (first.id, True)
    lab.relay_turn(after=6)
    last = lab.bus.send(workflow, "a", "test.message", sender="web", delay=5, deduplication_id="x")
    assert (last.sequence, last.duplicate) == (1, True)
    assert not Timer.objects.exists()


def test_what_is_wrong_is_its_senders_error_at_once(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    with pytest.raises(UnknownAgent):
        lab.send(workflow, "nobody", delay=1)
    with pytest.raises(EnvelopeError):
        lab.send(workflow, "a", object(), delay=1)
    with pytest.raises(EnvelopeError, match="time zone"):
        lab.send(workflow, "a", at=datetime(2030, 1, 1))
    with pytest.raises(EnvelopeError, match="both"):
        lab.send(workflow, "a", delay=1, at=datetime(2030, 1, 1, tzinfo=UTC))
    lab.bus.complete_workflow(workflow)
    with pytest.raises(WorkflowClosed):
        lab.send(workflow, "a", delay=1)


def test_one_that_is_refused_when_due_does_not_stop_the_others(lab: Lab) -> None:
    lab.agent("a")
    lab.agent("b")
    workflow, other = lab.workflow(max_messages=1), lab.workflow()
    lab.send(workflow, "a", "refused", delay=1)
    lab.send(other, "b", "sent", delay=1)
    lab.send(workflow, "a", "the only one")
    for _ in range(2 * sending_due.MAX_ATTEMPTS):
        lab.relay_turn(after=sending_due.MAX_WAIT + 1)
    assert sent_data(other) == ["sent"]
    failed = Timer.objects.get()
    assert failed.state == TimerState.FAILED
    assert "may have 1" in failed.last_error


def test_a_timer_in_a_paused_workflow_is_held_like_any_message(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a", delay=1)
    lab.bus.pause_workflow(workflow)
    lab.relay_turn(after=2)
    lab.work()
    assert Delivery.objects.get(workflow=workflow).state != DeliveryState.PROCESSED
    lab.bus.resume_workflow(workflow)
    lab.settle()
    assert lab.all_processed(workflow)


def test_the_relay_sends_what_came_due_while_none_ran_in_order(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    for seconds in (30, 10, 20):
        lab.send(workflow, "a", seconds, delay=seconds)
    lab.clock.advance(10_000)  # a clock that jumped, or a night without a relay
    Relay(lab.broker).turn()
    assert sent_data(workflow) == [10, 20, 30]


# --- schedules ---


def test_a_schedule_sends_again_and_again_and_makes_up_for_nothing(lab: Lab) -> None:
    lab.agent("a")
    for _ in range(2):  # declared by every deploy
        schedule("report", recipient="a", type="test.message", sender="web", every=60)
    lab.relay_turn(after=61)
    lab.relay_turn(after=61)
    assert Message.objects.count() == 2
    assert Message.objects.values("workflow").distinct().count() == 2
    lab.relay_turn(after=3_600)
    lab.relay_turn(after=1)
    assert Message.objects.count() == 3
    assert unschedule("report")
    lab.relay_turn(after=61)
    assert Message.objects.count() == 3


def test_a_schedule_ends_with_its_workflow(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    schedule("ticks", recipient="a", type="test.message", sender="web", cron="* * * * *", workflow=workflow)
    lab.relay_turn(after=61)
    assert len(sent_data(workflow)) == 1
    lab.bus.complete_workflow(workflow)
    lab.relay_turn(after=61)
    assert not Schedule.objects.exists()


def test_a_clock_that_was_ahead_for_a_while_does_not_silence_a_schedule(lab: Lab) -> None:
    lab.agent("a")
    schedule("report", recipient="a", type="test.message", sender="web", every=600)
    lab.relay_turn(after=365 * 86_400)
    assert Message.objects.count() == 1
    lab.clock.ahead -= 365 * 86_400  # set right again; the relay is started anew, for its own clock never goes back
    lab.close()
    relay = Relay(lab.broker)
    from messaging.models import RelayLease

    RelayLease.objects.all().delete()
    relay.turn()
    assert Schedule.objects.get().due_at <= timezone.now() + timedelta(seconds=601)


def test_a_schedule_whose_recipient_is_unknown_says_so(lab: Lab) -> None:
    schedule("report", recipient="nobody", type="test.message", sender="web", every=60)
    lab.relay_turn(after=61)
    assert "nobody" in Schedule.objects.get().last_error
    with pytest.raises(ConfigurationError, match="either"):
        schedule("report", recipient="a", type="test.message", sender="web")
    with pytest.raises(ConfigurationError, match="hour"):
        schedule("report", recipient="a", type="test.message", sender="web", cron="0 24 * * *")


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 0 29 2 *", "2026-03-01T00:00", "2028-02-29T00:00"),
        ("30 6 1,15 * *", "2026-01-01T06:30", "2026-01-15T06:30"),
        ("0 12 13 * 5", "2026-01-01T00:00", "2026-01-02T12:00"),
        ("5-59/20 * * * 7", "2026-01-03T23:59", "2026-01-04T00:05"),
    ],
)
def test_cron(cron: str, after: str, expected: str) -> None:
    found = parse_cron(cron).after(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found.isoformat()[:16] == expected
    with pytest.raises(ConfigurationError, match="never"):
        parse_cron("0 0 30 2 *")


def test_the_command_lists_and_cancels(lab: Lab) -> None:
    lab.agent("a")
    workflow = lab.workflow()
    receipt = lab.bus.send(workflow, "a", "test.message", sender="web", delay=60)
    schedule("report", recipient="a", type="test.message", sender="web", every=60)
    output = StringIO()
    call_command("nexus_timers", "list", stdout=output)
    assert str(receipt.id) in output.getvalue()
    assert "report" in output.getvalue()
    call_command("nexus_timers", "cancel", str(receipt.id), "report", stdout=output)
    assert (Timer.objects.count(), Schedule.objects.count()) == (0, 0)
    with pytest.raises(SystemExit):
        call_command("nexus_timers", "cancel", str(receipt.id), stdout=output, stderr=output)


# --- legacy mode ---


def test_legacy_mode_sends_when_time_has_passed_at_the_next_send(lab: Lab) -> None:
    bus = ReliableCommunicationBus(legacy_mode=True)
    seen: list[Any] = []
    bus.register_agent("legacy-a", lambda message, context: seen.append((message.data, message.sequence_number)))
    workflow, ended = bus.start_workflow("x"), bus.start_workflow("y")
    receipt = bus.send(workflow, "legacy-a", "test.message", "later", sender="web", delay=60)
    bus.send(ended, "legacy-a", "test.message", "never", sender="web", delay=60)
    cancelled = bus.send(workflow, "legacy-a", "test.message", "never", sender="web", delay=60)
    assert receipt.due_at is not None
    assert bus.cancel_timer(cancelled.id)
    bus.cancel_workflow(ended)
    bus.send(workflow, "legacy-a", "test.message", "now", sender="web")
    assert seen == [("now", 1)]
    lab.clock.advance(61)
    assert bus.send_due_timers() == 1
    assert seen == [("now", 1), ("later", 2)]
    assert isinstance(bus, CommunicationBus)


def test_nothing_is_due(lab: Lab) -> None:
    assert send_due_timers() == 0
