"""Handling everything that is pending, in the test's own thread and transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.envelope import Envelope, parse_envelope
from messaging.core.errors import NexusError
from messaging.core.outcome import Outcome
from messaging.models import POLLED_STATES, Delivery, DeliveryState, WorkflowStatus
from messaging.security.encryption.payloads import open_data
from messaging.testing.clock import SkippedTime, skipping_time
from messaging.testing.handling import handle_delivery, let_time_act, paused_agents
from messaging.testing.matching import line_of

MAX_HANDLINGS = 1_000
MAX_SHOWN = 20

_WAITING = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.HELD)
_OUTCOMES = {
    DeliveryState.PROCESSED: Outcome.PROCESSED,
    DeliveryState.DEAD: Outcome.DEAD,
    DeliveryState.CANCELLED: Outcome.CANCELLED,
    DeliveryState.EXPIRED: Outcome.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """One attempt to handle a message.

    Args:
        agent: the agent whose handler was called.
        message: what it got.
        attempt: 1 for the first one.
        outcome: PROCESSED, RETRY (it failed and is tried again), DEAD (a dead letter), EXPIRED or CANCELLED.
        error: why it failed, with the handler's traceback; "" otherwise.
    """

    agent: str
    message: Envelope
    attempt: int
    outcome: Outcome
    error: str = ""

    def __str__(self) -> str:
        attempt = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        last_line = self.error.strip().rpartition("\n")[2]
        return f"{self.agent}: {line_of(self.message)}: {self.outcome.value}{attempt}{last_line and f': {last_line}'}"


@dataclass(slots=True)
class DrainReport:
    """What ``drain`` did.

    Args:
        handlings: every attempt, in order.
        skipped: seconds that passed at once instead of being waited for.
        waiting: what is still unhandled and why, such as "its workflow is parked"; one line each.
    """

    handlings: list[Handling] = field(default_factory=list)
    skipped: float = 0.0
    waiting: list[str] = field(default_factory=list)

    def _with(self, outcome: Outcome) -> list[Handling]:
        return [handling for handling in self.handlings if handling.outcome is outcome]

    @property
    def processed(self) -> list[Handling]:
        """The attempts that succeeded."""
        return self._with(Outcome.PROCESSED)

    @property
    def retries(self) -> list[Handling]:
        """The attempts that failed and were repeated."""
        return self._with(Outcome.RETRY)

    @property
    def dead_letters(self) -> list[Handling]:
        """The attempts that failed for good."""
        return self._with(Outcome.DEAD)

    def __str__(self) -> str:
        lines = [str(handling) for handling in self.handlings[-MAX_SHOWN:]]
        if len(self.handlings) > MAX_SHOWN:
            lines.insert(0, f"({len(self.handlings) - MAX_SHOWN} earlier ones)")
        return "\n".join([*lines, *(f"waits: {line}" for line in self.waiting[:MAX_SHOWN])])


class UnexpectedDeadLetter(NexusError, AssertionError):
    """A message became a dead letter while a test drained.

    Args:
        report: what was done until then.
    """

    def __init__(self, report: DrainReport) -> None:
        dead = report.dead_letters[-1]
        super().__init__(
            f"{dead}\nThe test may expect it: drain(allow_dead_letters=True). Handled until then:\n{report}\n\n"
            f"{dead.error}"
        )
        self.report = report


class DrainLimit(NexusError, AssertionError):
    """There is still something to handle after as many attempts as a test allows.

    Args:
        report: what was done until then.
    """

    def __init__(self, report: DrainReport, limit: int) -> None:
        super().__init__(
            f"There is still something to handle after {limit} attempts. Do agents answer each other for ever? "
            f"Otherwise: drain(limit={limit * 10}). The last ones:\n{report}"
        )
        self.report = report


def drain(*, allow_dead_letters: bool = False, limit: int = MAX_HANDLINGS, later: float = 0.0) -> DrainReport:
    """Handle everything that is pending, and what is sent by that, until nothing is left.

    Messages are handled one by one in the order in which they were sent, each in a savepoint of the test's transaction;
    leased handlers run here too, async ones on an event loop. Nobody waits: until a retry is due, and until a rate
    limit allows the next one, ``timezone.now()`` is moved on.

    Args:
        allow_dead_letters: report dead letters instead of raising at the first one.
        limit: most attempts.
        later: seconds that pass before, so that deadlines of workflows and chats come.

    Raises:
        UnexpectedDeadLetter: a message failed for good.
        DrainLimit: there is no end to it.
    """
    report = DrainReport()
    with skipping_time() as clock:
        if later:
            clock.advance(later)
            let_time_act()
        for count, delivery in enumerate(_turns(clock)):
            if count >= limit:
                raise DrainLimit(report, limit)
            handling = _handle(delivery)
            if handling is not None:
                report.handlings.append(handling)
                if handling.outcome is Outcome.DEAD and not allow_dead_letters:
                    raise UnexpectedDeadLetter(report)
        report.skipped = clock.ahead.total_seconds()
        report.waiting = _waiting()
    return report


def _turns(clock: SkippedTime) -> Iterator[Delivery]:
    """The deliveries to try, one after the other, until there is none whose turn comes by itself."""
    came_back: dict[UUID, datetime] = {}  # untried, such as for a rate limit: due when the log says
    stalled: set[UUID] = set()  # held again: only another one's end can help
    while True:
        its_turn = (
            Delivery.objects.filter(
                state__in=_WAITING, workflow__status=WorkflowStatus.RUNNING, position__lte=F("mailbox__processed") + 1
            )
            .exclude(agent__in=paused_agents())
            .exclude(pk__in=stalled)
            .select_related("message")
        )
        delivery = _next(its_turn, came_back, clock)
        if delivery is None:
            return
        yield delivery
        now = Delivery.objects.get(pk=delivery.pk)
        came_back.pop(delivery.pk, None)
        if now.state == DeliveryState.HELD:
            stalled.add(delivery.pk)
            continue
        stalled.clear()
        if now.state in _WAITING and now.attempts == 0:
            came_back[delivery.pk] = now.available_at


def _next(its_turn: QuerySet[Delivery], came_back: dict[UUID, datetime], clock: SkippedTime) -> Delivery | None:
    # A first attempt waits for nothing: what the log says is when the relay would publish it.
    first_attempt = Q(attempts=0) & ~Q(pk__in=came_back)
    due = its_turn.filter(first_attempt | Q(available_at__lte=timezone.now())).order_by("pk").first()
    if due is not None:
        return due
    later = its_turn.order_by("available_at", "pk").first()
    if later is None:
        return None
    clock.advance_to(later.available_at)
    let_time_act()
    return its_turn.filter(pk=later.pk).first() or its_turn.order_by("available_at", "pk").first()


def _handle(delivery: Delivery) -> Handling | None:
    """Try once; None when its handler was not called, because it has to wait."""
    limit = get_settings().max_message_bytes
    envelope = open_data(parse_envelope(bytes(delivery.message.envelope), max_bytes=limit))
    handle_delivery(delivery.pk, delivery.agent)
    now = Delivery.objects.get(pk=delivery.pk)
    outcome = _OUTCOMES.get(DeliveryState(now.state))
    if outcome is None:
        if now.attempts == delivery.attempts:
            return None
        outcome = Outcome.RETRY
    return Handling(
        agent=delivery.agent,
        message=envelope,
        attempt=delivery.attempts + 1,
        outcome=outcome,
        error=now.last_error if outcome in (Outcome.RETRY, Outcome.DEAD) else "",
    )


def _waiting() -> list[str]:
    """What is unhandled, and why."""
    paused = paused_agents()
    lines = []
    for delivery in Delivery.objects.filter(state__in=POLLED_STATES).select_related("workflow").order_by("pk"):
        workflow = delivery.workflow
        if workflow.status != WorkflowStatus.RUNNING:
            reason = f"its workflow is {workflow.status}" + (workflow.status_reason and f" ({workflow.status_reason})")
        elif delivery.agent in paused:
            reason = f"{delivery.agent} is paused"
        else:
            reason = "what came before it in its mailbox is not handled"
        lines.append(f"{delivery}: {reason}")
    return lines
