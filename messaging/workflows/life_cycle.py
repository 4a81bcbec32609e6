"""Starting workflows and changing their status."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.describing import storable
from messaging.core.errors import UnknownWorkflow, WorkflowBlocked, WorkflowClosed
from messaging.core.ids import uuid7
from messaging.core.messages import WorkflowOptions
from messaging.log import rows
from messaging.models import (
    OPEN_STATUSES,
    DeadLetterStatus,
    DeliveryState,
    FailurePolicy,
    GapPolicy,
    IdlePolicy,
    Workflow,
    WorkflowStatus,
)
from messaging.workflows.noticing import note_status
from messaging.workflows.telling import ParkedNotice, tell_parked

MAX_NAMED = 10
PARKED_AT_ONCE = 500


def start(options: WorkflowOptions) -> UUID:
    """Store a workflow in the transaction that is open, if any, and return its id."""
    settings = get_settings()
    values = {
        "name": options.name,
        "max_messages": options.max_messages,
        "deadline_at": _after(options.deadline),
        "failure_policy": FailurePolicy(options.failure_policy or settings.failure_policy),
        "gap_policy": GapPolicy(options.gap_policy or settings.gap_policy),
        "idle_timeout": options.idle_timeout,
        "idle_policy": IdlePolicy(options.idle_policy or IdlePolicy.PARK),
        "idle_look_at": _after(options.idle_timeout),
    }
    if options.deduplication_id is None:
        return Workflow.objects.create(id=uuid7(), **values).pk
    workflow, _ = Workflow.objects.get_or_create(
        deduplication_id=options.deduplication_id, defaults={"id": uuid7(), **values}
    )
    return workflow.pk


def _after(seconds: float | None) -> datetime | None:
    return None if seconds is None else timezone.now() + timedelta(seconds=seconds)


def lock(workflow_id: UUID) -> Workflow:
    """Lock one workflow in the transaction that is open.

    Raises:
        UnknownWorkflow: there is none with that id.
    """
    try:
        return Workflow.objects.select_for_update(no_key=True).get(pk=workflow_id)
    except Workflow.DoesNotExist:
        raise UnknownWorkflow(f"There is no workflow {workflow_id}.") from None


def status_of(workflow_id: UUID) -> str:
    """How a workflow stands, without locking it.

    Raises:
        UnknownWorkflow: there is none with that id.
    """
    found = Workflow.objects.filter(pk=workflow_id).values_list("status", flat=True).first()
    if found is None:
        raise UnknownWorkflow(f"There is no workflow {workflow_id}. It may have ended and been removed from the log.")
    return found


def _set_status(
    workflow_id: UUID, status: WorkflowStatus, reason: str, allowed: tuple[WorkflowStatus, ...]
) -> Workflow:
    workflow = lock(workflow_id)
    if workflow.status == status:
        return workflow
    if workflow.status not in allowed:
        raise WorkflowClosed(f"Workflow {workflow_id} is {workflow.status} and cannot become {status.value}.")
    workflow.status, workflow.status_reason = status, storable(reason)
    workflow.ended_at = None if status in OPEN_STATUSES else timezone.now()
    workflow.idle_look_at = _after(workflow.idle_timeout)  # a resumed one begins to be idle anew
    workflow.save(update_fields=["status", "status_reason", "ended_at", "idle_look_at"])
    note_status(workflow_id)
    return workflow


def _settle_waiting(workflow_id: UUID, state: DeliveryState) -> None:
    """Give every delivery that is not handled yet a final state.

    A leased one goes on; its result is refused or stored. What was to be sent later is not sent any more.
    """
    log.cancel_timers(workflow_id)
    rows.execute(
        "UPDATE nexus_delivery SET state = %s, settled_at = %s WHERE mailbox_id IN"
        " (SELECT id FROM nexus_mailbox WHERE workflow_id = %s)"
        " AND state IN ('pending', 'sent', 'held', 'quarantined')",
        [state.value, timezone.now(), workflow_id],
    )


def pause(workflow_id: UUID, reason: str = "") -> None:
    """Hold everything that is not handled yet until ``resume``."""
    with transaction.atomic():
        _set_status(workflow_id, WorkflowStatus.PAUSED, reason, (WorkflowStatus.RUNNING,))


def park(workflow_id: UUID, reason: str) -> None:
    """Stop a workflow because of a failure; an operator resumes it."""
    with transaction.atomic():
        if lock(workflow_id).status == WorkflowStatus.PARKED:
            return
        parked = _set_status(
            workflow_id, WorkflowStatus.PARKED, reason, (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED)
        )
        tell_parked(ParkedNotice(workflow_id=parked.pk, name=parked.name, reason=parked.status_reason))


def park_all(workflow_ids: Sequence[UUID], reason: str) -> list[UUID]:
    """Stop many workflows in the transaction that is open, and return those that were not ended or parked already.

    Args:
        workflow_ids: locked in their order, a part after the other.
        reason: for the operator who resumes them.
    """
    parked: list[UUID] = []
    ids = sorted(workflow_ids)
    for start in range(0, len(ids), PARKED_AT_ONCE):
        stopping = Workflow.objects.select_for_update(no_key=True).filter(
            pk__in=ids[start : start + PARKED_AT_ONCE], status__in=(WorkflowStatus.RUNNING, WorkflowStatus.PAUSED)
        )
        found = list(stopping.order_by("pk"))
        chosen = [workflow.pk for workflow in found]
        Workflow.objects.filter(pk__in=chosen).update(status=WorkflowStatus.PARKED, status_reason=storable(reason))
        for workflow in found:
            note_status(workflow.pk)
            tell_parked(ParkedNotice(workflow_id=workflow.pk, name=workflow.name, reason=storable(reason)))
        parked += chosen
    return parked


def resume(workflow_id: UUID) -> None:
    """Let a paused or parked workflow go on. What it held is published again by the relay, in order.

    Raises:
        WorkflowBlocked: it is parked, and a dead letter that is open keeps its mailbox from going on.
    """
    with transaction.atomic():
        workflow = lock(workflow_id)
        if workflow.status == WorkflowStatus.PARKED:
            _refuse_blocked(workflow)
        go_on(workflow_id)


def _refuse_blocked(workflow: Workflow) -> None:
    """What is dead stays in front of all that comes behind it in its mailbox until somebody decides."""
    blocking = workflow.dead_letters.filter(
        status=DeadLetterStatus.OPEN,
        delivery__state=DeliveryState.DEAD,
        delivery__position__gt=F("delivery__mailbox__processed"),
    )
    found = list(blocking.order_by("pk").values_list("pk", "agent")[: MAX_NAMED + 1])
    if found:
        names = ", ".join(f"{number} ({agent})" for number, agent in found[:MAX_NAMED])
        more = " and more" if len(found) > MAX_NAMED else ""
        ids = " ".join(str(number) for number, _ in found[:MAX_NAMED])
        raise WorkflowBlocked(
            f"Workflow {workflow.pk} is parked by open dead letters: {names}{more}. Resumed, nothing behind them would "
            f"move. Replay or discard them (admin, Dead letters; manage.py nexus_replay {ids}, or nexus_discard): it "
            "goes on by itself then."
        )


def go_on(workflow_id: UUID) -> None:
    """Let a workflow go on whose dead letters are dealt with."""
    with transaction.atomic():
        _set_status(workflow_id, WorkflowStatus.RUNNING, "", (WorkflowStatus.PAUSED, WorkflowStatus.PARKED))
        release(workflow_id)


def release(workflow_id: UUID) -> None:
    """Make held deliveries due."""
    rows.execute(
        "UPDATE nexus_delivery SET state = 'pending', available_at = %s WHERE mailbox_id IN"
        " (SELECT id FROM nexus_mailbox WHERE workflow_id = %s) AND state = 'held'",
        [timezone.now(), workflow_id],
    )


def cancel(workflow_id: UUID, reason: str = "") -> None:
    """End a workflow: nothing more is handled or sent in it."""
    with transaction.atomic():
        _set_status(workflow_id, WorkflowStatus.CANCELLED, reason, OPEN_STATUSES)
        _settle_waiting(workflow_id, DeliveryState.CANCELLED)


def complete(workflow_id: UUID) -> None:
    """End a workflow that reached its goal. What is still unhandled in it is cancelled."""
    with transaction.atomic():
        _set_status(workflow_id, WorkflowStatus.COMPLETED, "", OPEN_STATUSES)
        _settle_waiting(workflow_id, DeliveryState.CANCELLED)


def expire_overdue(limit: int) -> int:
    """End open workflows whose deadline has passed; return how many."""
    now = timezone.now()
    overdue = list(
        Workflow.objects.filter(status__in=OPEN_STATUSES, deadline_at__lte=now)
        .order_by("deadline_at")
        .values_list("pk", flat=True)[:limit]
    )
    return sum(_expire(workflow_id) for workflow_id in overdue)


def _expire(workflow_id: UUID) -> bool:
    """End a workflow whose deadline has passed, unless somebody ended it meanwhile."""
    with transaction.atomic():
        if (
            not Workflow.objects.select_for_update(no_key=True)
            .filter(pk=workflow_id, status__in=OPEN_STATUSES)
            .exists()
        ):
            return False
        _set_status(workflow_id, WorkflowStatus.EXPIRED, "its deadline passed", OPEN_STATUSES)
        _settle_waiting(workflow_id, DeliveryState.EXPIRED)
    return True
