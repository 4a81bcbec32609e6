"""Position gaps that the log itself has: what a mailbox waits for does not exist.

``due.replay_gaps`` closes ordinary gaps, whose missing delivery is in the log. One that is not, because rows were
removed by hand or restored from an old backup, will never come. The workflow's gap policy decides what then happens:

- park: stop, and say what is missing;
- skip: leave a tombstone, a discarded dead letter, and go on behind the gap;
- resend: tell the sender once, with a message of type ``nexus.resend`` that names the positions; park when they are
  still missing ``gap_timeout`` later. What the sender sends again gets a new position: it comes last, not in its place.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.errors import SendError
from messaging.core.messages import Outgoing
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    DeadReason,
    Delivery,
    DeliveryState,
    GapPolicy,
    Mailbox,
    Message,
    Workflow,
    WorkflowStatus,
)
from messaging.security.access.holding import holding_policy
from messaging.sending import outbox
from messaging.workflows import life_cycle as workflows

logger = logging.getLogger("nexus.relay")

AT_ONCE = 100
RESEND_TYPE = "nexus.resend"


@dataclass(frozen=True, slots=True)
class Gap:
    """Positions ``first`` to ``last`` of a mailbox, which the log does not have, before a held delivery."""

    mailbox: Mailbox
    first: int
    last: int
    behind: Delivery

    def __str__(self) -> str:
        which = f"position {self.first}" if self.first == self.last else f"positions {self.first} to {self.last}"
        return f"{self.mailbox.agent} waits for {which}, which the log does not have"


def settle_missing() -> int:
    """Apply the gap policy where held deliveries have waited ``gap_timeout`` for what is not in the log.

    Returns:
        How many gaps were settled.
    """
    following = Delivery.objects.filter(mailbox=OuterRef("mailbox"), position=F("mailbox__processed") + 1)
    overdue = Delivery.objects.filter(
        state=DeliveryState.HELD, available_at__lte=timezone.now(), workflow__status=WorkflowStatus.RUNNING
    )
    mailboxes = overdue.filter(~Exists(following)).values_list("mailbox_id", flat=True).distinct()[:AT_ONCE]
    return sum(_settle(mailbox_id) for mailbox_id in list(mailboxes))


def _settle(mailbox_id: int) -> int:
    workflow_id = Mailbox.objects.values_list("workflow_id", flat=True).get(pk=mailbox_id)
    with transaction.atomic():
        workflow = workflows.lock(workflow_id)
        gap = _find(mailbox_id)
        if gap is None or workflow.status != WorkflowStatus.RUNNING:
            return 0
        logger.error("Workflow %s: %s; policy: %s.", workflow_id, gap, workflow.gap_policy)
        if workflow.gap_policy == GapPolicy.SKIP:
            _skip(gap, workflow)
        elif workflow.gap_policy != GapPolicy.RESEND or not _ask_sender(gap, workflow):
            workflows.park(workflow_id, f"{gap}. Resume after repairing the log, or set the gap policy to skip")
    return 1


def _find(mailbox_id: int) -> Gap | None:
    mailbox = Mailbox.objects.get(pk=mailbox_id)
    behind = Delivery.objects.filter(mailbox=mailbox, position__gt=mailbox.processed).order_by("position").first()
    if behind is None or behind.position == mailbox.processed + 1:
        return None
    return Gap(mailbox, mailbox.processed + 1, behind.position - 1, behind)


def _skip(gap: Gap, workflow: Workflow) -> None:
    now = timezone.now()
    DeadLetter.objects.create(
        workflow=workflow,
        agent=gap.mailbox.agent,
        reason=DeadReason.UNKNOWN_DELIVERY,
        error="Gap",
        detail=f"{gap}. Left out by the workflow's gap policy.",
        body=b"",
        status=DeadLetterStatus.DISCARDED,
        resolved_at=now,
        resolved_by="gap policy",
    )
    log.advance_mailboxes({gap.mailbox.pk: gap.last})
    Delivery.objects.filter(pk=gap.behind.pk, state=DeliveryState.HELD).update(
        state=DeliveryState.PENDING, available_at=now
    )


def _ask_sender(gap: Gap, workflow: Workflow) -> bool:
    """Ask the sender of what comes behind the gap; False when it was asked before, or cannot be."""
    asked = f"resend:{gap.mailbox.agent}:{gap.first}"
    if Message.objects.filter(workflow=workflow, deduplication_id=asked).exists():
        return False
    sender = Message.objects.values_list("source", flat=True).get(pk=gap.behind.message_id)
    request = Outgoing(
        workflow_id=workflow.pk,
        source=gap.mailbox.agent,
        recipient=sender,
        type=RESEND_TYPE,
        data={"agent": gap.mailbox.agent, "first": gap.first, "last": gap.last},
        deduplication_id=asked,
    )
    locked: dict[UUID, log.WorkflowRow] = log.lock_workflows([workflow.pk], wait=True)
    try:
        with transaction.atomic(), holding_policy():
            outbox.store([request], locked)
            log.save_sequences(locked.values())
    except SendError as error:
        logger.warning("The sender %s cannot be asked: %s", sender, error)
        return False
    # Its turn to be looked at again comes after gap_timeout, like that of everything held.
    log.reschedule([gap.behind.pk], DeliveryState.HELD, timezone.now() + timedelta(seconds=get_settings().gap_timeout))
    return True
