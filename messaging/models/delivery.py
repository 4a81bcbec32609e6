"""Delivery: one message for one recipient agent, with its place in that agent's mailbox."""

from __future__ import annotations

from django.db import models

from messaging.core.registry import HandlerKind
from messaging.models.agent import KINDS
from messaging.models.mailbox import Mailbox
from messaging.models.message import Message
from messaging.models.workflow import Workflow


class DeliveryState(models.TextChoices):
    PENDING = "pending"  # to be published at available_at
    SENT = "sent"  # publish confirmed; published again at available_at if it was not handled by then
    HELD = "held"  # came before its predecessor, or its workflow is stopped
    QUARANTINED = "quarantined"  # verification stopped it; a person releases or rejects it
    LEASED = "leased"  # a leased handler works on it; the lease ends at available_at
    PROCESSED = "processed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REPLACED = "replaced"  # an edited message has taken its position


POLLED_STATES = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.HELD, DeliveryState.LEASED)
FINAL_STATES = (DeliveryState.PROCESSED, DeliveryState.CANCELLED, DeliveryState.EXPIRED, DeliveryState.REPLACED)


class Delivery(models.Model):
    """Its id is the message's id plus 1, 2, 3, …: the deliveries of a message are a range of the primary key."""

    id = models.UUIDField(primary_key=True, editable=False)
    message = models.ForeignKey(
        Message, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="deliveries"
    )
    workflow = models.ForeignKey(
        Workflow, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="deliveries"
    )
    mailbox = models.ForeignKey(
        Mailbox, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="deliveries"
    )
    agent = models.CharField(max_length=100)
    position = models.BigIntegerField()
    queue = models.CharField(
        max_length=13,
        choices=KINDS,
        default=HandlerKind.TRANSACTIONAL.value,
        help_text="Each kind of handler has a queue of its own.",
    )
    state = models.CharField(max_length=11, choices=DeliveryState, default=DeliveryState.PENDING)
    attempts = models.SmallIntegerField(default=0)
    redeliveries = models.SmallIntegerField(default=0, help_text="How often the relay sent it again unseen.")
    lock_losses = models.SmallIntegerField(
        db_default=0, help_text="How often its handler lost a lock to somebody else, without an attempt counted."
    )
    edition = models.SmallIntegerField(
        db_default=0,
        help_text="0: it stands at its position. Otherwise it was the first, second, … to be replaced there.",
    )
    available_at = models.DateTimeField(help_text="When the relay looks at it next; its meaning depends on the state.")
    lease_token = models.UUIDField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        db_table = "nexus_delivery"
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "position", "edition"], name="nexus_delivery_position"),
            models.CheckConstraint(condition=models.Q(position__gte=1), name="nexus_delivery_position_positive"),
            models.CheckConstraint(condition=models.Q(state__in=DeliveryState.values), name="nexus_delivery_state"),
            models.CheckConstraint(
                condition=models.Q(queue__in=[kind.value for kind in HandlerKind]), name="nexus_delivery_queue"
            ),
        ]
        indexes = [
            # One partial index serves every poll; a settled delivery leaves it, so it stays as small as the work in
            # flight.
            models.Index(
                fields=["state", "available_at"],
                name="nexus_delivery_due",
                condition=models.Q(state__in=[str(state) for state in POLLED_STATES]),
            ),
            models.Index(
                fields=["agent", "id"],
                name="nexus_delivery_offered",
                condition=models.Q(queue=HandlerKind.EXTERNAL.value, state__in=["sent", "pending"]),
            ),
            # No poll looks at these; people do.
            models.Index(
                fields=["agent"],
                name="nexus_delivery_quarantined",
                condition=models.Q(state=str(DeliveryState.QUARANTINED)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent} #{self.position}: {self.state}"
