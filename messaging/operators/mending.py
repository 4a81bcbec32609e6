"""What a person does with the messages of one workflow: publish what it waits for again, or leave one out."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging.core.describing import storable
from messaging.core.errors import SkipRefused, WorkflowClosed
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    DeadReason,
    Delivery,
    DeliveryState,
    Mailbox,
    Message,
    Workflow,
    WorkflowStatus,
)
from messaging.operators.acts import Actor, record
from messaging.operators.dead_letters import discard_letter
from messaging.outcomes.dead import skip
from messaging.recovery.discarding import tell_discarded
from messaging.recovery.due import pass_done, publish_front_again
from messaging.workflows import life_cycle

MAX_MAILBOXES = 1_000
_CAN_BE_LEFT_OUT = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.HELD)


def release(workflow_id: UUID) -> None:
    """Have everything that is held published now, instead of when the relay looks at it next.

    Raises:
        UnknownWorkflow: there is none with that id.
        WorkflowClosed: it is not running, so that all of it would be held again.
    """
    with transaction.atomic():
        _lock_running(workflow_id)
        life_cycle.release(workflow_id)


def replay_missing(workflow_id: UUID) -> int:
    """Publish again what the mailboxes wait for, without waiting for the relay to find it lost; duplicates do no harm.

    Returns:
        How many deliveries are published again or were counted as done.

    Raises:
        UnknownWorkflow: there is none with that id.
        WorkflowClosed: it is not running.
    """
    with transaction.atomic():
        _lock_running(workflow_id)
        behind = [
            (pk, processed)
            for pk, sent, processed in Mailbox.objects.filter(workflow=workflow_id)
            .order_by("pk")
            .values_list("pk", "sent", "processed")[:MAX_MAILBOXES]
            if sent > processed
        ]
        count = sum(pass_done(mailbox) for mailbox, _ in behind)
        now = timezone.now()
        fronts = Mailbox.objects.filter(pk__in=[mailbox for mailbox, _ in behind]).values_list("pk", "processed")
        return count + sum(publish_front_again(mailbox, processed, now) for mailbox, processed in list(fronts))


def _lock_running(workflow_id: UUID) -> None:
    workflow = life_cycle.lock(workflow_id)
    if workflow.status != WorkflowStatus.RUNNING:
        raise WorkflowClosed(f"Workflow {workflow_id} is {workflow.status}. Resume it: what it holds goes on then.")


def skip_message(delivery_id: UUID, *, actor: Actor, reason: str = "") -> None:
    """Let an agent go on without the message that is next in its mailbox. A discarded dead letter says so.

    Args:
        delivery_id: of the delivery.
        actor: who decides; it is written down as an act of this person.
        reason: for whoever looks at it later.

    Raises:
        SkipRefused: there is none, its turn has not come, a handler works on it or it is settled. Nothing is changed.
        ReplayError: its dead letter cannot be discarded.
    """
    found = Delivery.objects.filter(pk=delivery_id).values_list("workflow_id", "message_id").first()
    if found is None:
        raise SkipRefused(f"There is no delivery {delivery_id}.")
    with transaction.atomic():
        workflow = life_cycle.lock(found[0])
        delivery = Delivery.objects.select_for_update(no_key=True).get(pk=delivery_id)
        message = Message.objects.get(pk=found[1])
        letter = DeadLetter.objects.filter(delivery=delivery, status=DeadLetterStatus.OPEN).values_list("pk").first()
        if letter is not None:
            discard_letter(letter[0], actor=actor, reason=reason)
        else:
            _check(delivery, workflow)
            _leave_out(delivery, workflow, message, str(actor), reason)
        left_out = {"skipped": f"#{message.sequence} for {delivery.agent}", "delivery": str(delivery_id)}
        record(actor, "skip", Workflow, workflow.pk, reason=reason, after=left_out)


def _check(delivery: Delivery, workflow: Workflow) -> None:
    if not workflow.is_open:
        raise SkipRefused(f"Workflow {workflow.pk} is {workflow.status}: nothing in it is handled any more.")
    if delivery.state == DeliveryState.QUARANTINED:
        raise SkipRefused(f"Delivery {delivery.pk} is quarantined. Reject its verdict instead.")
    if delivery.state == DeliveryState.LEASED:
        raise SkipRefused(f"A handler of {delivery.agent} works on delivery {delivery.pk}. Pause the agent or wait.")
    if delivery.state not in _CAN_BE_LEFT_OUT:
        raise SkipRefused(f"Delivery {delivery.pk} is {delivery.state} already.")
    processed = Mailbox.objects.values_list("processed", flat=True).get(pk=delivery.mailbox_id)
    if delivery.position != processed + 1:
        raise SkipRefused(
            f"{delivery.agent} waits for position {processed + 1}, not for {delivery.position}. Leave that out first."
        )


def _leave_out(delivery: Delivery, workflow: Workflow, message: Message, user: str, reason: str) -> None:
    now = timezone.now()
    why = storable(f"Left out by {user}" + (f": {reason}" if reason else "."))
    DeadLetter.objects.create(
        delivery=delivery,
        workflow=workflow,
        agent=delivery.agent,
        message_type=message.type,
        reason=DeadReason.VERIFICATION,
        error="Skipped",
        detail=why,
        body=message.envelope,
        status=DeadLetterStatus.DISCARDED,
        resolved_at=now,
        resolved_by=storable(user)[:150],
    )
    Delivery.objects.filter(pk=delivery.pk).update(
        state=DeliveryState.DEAD, settled_at=now, lease_token=None, last_error=why
    )
    skip(delivery, now)
    tell_discarded(delivery.agent, workflow.pk, message.type)
