"""SequenceTracker: the public face of a workflow's counters."""

from __future__ import annotations

from uuid import UUID

from messaging.core.arguments import as_uuid, check_count
from messaging.core.errors import UnknownWorkflow
from messaging.models import FINAL_STATES, Delivery, DeliveryState, Mailbox, Message, Workflow

MAX_MISSING = 10_000


class SequenceTracker:
    """Says how far a workflow has come.

    Sequence numbers count the messages of the workflow. A recipient sees only some of them, so what is missing is told
    by the positions in each mailbox: a healthy conversation never reports a gap.

    Args:
        workflow: id of the workflow.

    Raises:
        EnvelopeError: it is no id.
    """

    def __init__(self, workflow: UUID) -> None:
        self.workflow = as_uuid("workflow", workflow)

    def next_number(self) -> int:
        """The sequence number that the next message gets.

        Raises:
            UnknownWorkflow: there is none with that id.
        """
        sequence = Workflow.objects.filter(pk=self.workflow).values_list("sequence", flat=True).first()
        if sequence is None:
            raise UnknownWorkflow(f"There is no workflow {self.workflow}.")
        return sequence + 1

    def processed(self) -> dict[str, int]:
        """Agent → position up to which everything sent to it is done."""
        return dict(Mailbox.objects.filter(workflow=self.workflow).values_list("agent", "processed"))

    def pending(self) -> dict[str, int]:
        """Agent → how many deliveries are not done yet."""
        return {
            agent: sent - processed
            for agent, sent, processed in Mailbox.objects.filter(workflow=self.workflow).values_list(
                "agent", "sent", "processed"
            )
        }

    def is_processed(self, sequence: int) -> bool:
        """Whether every recipient of the message with that number has handled it."""
        check_count("sequence", sequence)
        message = Message.objects.filter(workflow=self.workflow, sequence=sequence).first()
        if message is None:
            return False
        return not (
            Delivery.objects.filter(id__gt=message.id, id__lte=message.last_delivery_id)
            .exclude(state=DeliveryState.PROCESSED)
            .exists()
        )

    def missing(self) -> dict[str, list[int]]:
        """Agent → positions that are not handled although a later one has already arrived.

        Empty for a healthy workflow, however much of it is still on its way. At most 10,000 positions.
        """
        missing: dict[str, list[int]] = {}
        held = Delivery.objects.filter(mailbox__workflow=self.workflow, state=DeliveryState.HELD).values_list(
            "mailbox_id", "position"
        )
        furthest: dict[int, int] = {}
        for mailbox_id, position in held:
            furthest[mailbox_id] = max(position, furthest.get(mailbox_id, 0))
        for mailbox_id, last in furthest.items():
            absent = Delivery.objects.filter(mailbox=mailbox_id, position__lt=last).exclude(
                state__in=[DeliveryState.HELD, *FINAL_STATES]
            )
            for agent, position in absent.order_by("position").values_list("agent", "position")[:MAX_MISSING]:
                missing.setdefault(agent, []).append(position)
        return missing
