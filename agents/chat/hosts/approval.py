"""Persisted approvals: something waits for a person, for days if need be, through any restart."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID, uuid5

from django.db import transaction
from django.utils import timezone

from agents.chat.hosts.workflows import whose_workflow_ended
from agents.chat.rules.errors import ApprovalClosed, ChatError, UnknownApproval
from agents.chat.rules.messages import ANSWER, DESK
from agents.models import Approval, ApprovalPurpose, ApprovalStatus
from messaging.api import CommunicationBus, HandlerContext, ReliableCommunicationBus, TerminalError
from messaging.extension import storable

MAX_KEY = Approval._meta.get_field("key").max_length or 0
MAX_WITHDRAWN = 1_000
"""At once, by ``withdraw_ended``."""


def approval_id(workflow: UUID, key: str) -> UUID:
    """The id of the approval with that key in a workflow."""
    return uuid5(workflow, f"approval:{key}")


def request_approval(
    context: HandlerContext, key: str, question: str, *, content: str = "", options: Collection[str] = ()
) -> UUID:
    """Ask a person from within any agent's handler.

    The answer comes to the agent as a message of the type ``chat.answer``, with the data
    ``{"key", "approved", "text", "by"}``. Asking again with the same key in the same workflow asks
    nothing new, so a handler that is repeated does no harm.

    Args:
        context: of the handler.
        key: what it is for.
        question: what the person is asked.
        content: what is to be approved.
        options: answers to choose from.

    Returns:
        The approval's id.

    Raises:
        TerminalError: the key is too long, or holds what no database stores.
    """
    if storable(key) != key or len(f"{context.agent}:{key}") > MAX_KEY:
        raise TerminalError(
            f"request_approval({key[:50]!r}…): with the agent's name, a key has at most {MAX_KEY} characters, "
            "and neither NUL nor lone surrogates."
        )
    approval, _ = Approval.objects.get_or_create(
        id=approval_id(context.workflow_id, f"{context.agent}:{key}"),
        defaults={
            "workflow_id": context.workflow_id,
            "key": f"{context.agent}:{key}",
            "reply_to": context.agent,
            "purpose": ApprovalPurpose.APPROVAL,
            "member": context.agent,
            "question": storable(question),
            "content": storable(content),
            "options": [storable(option) for option in options],
        },
    )
    return approval.pk


def answer_approval(
    approval: UUID,
    *,
    approved: bool = True,
    text: str = "",
    by: str = "",
    deduplication_id: str | None = None,
    bus: CommunicationBus | None = None,
) -> None:
    """Answer for a person. The answer and its message are stored together, so neither can be lost.

    Args:
        approval: its id.
        approved: yes or no.
        text: a comment; for the purpose ``input`` what the person says, for ``speaker`` the chosen member.
        by: who answers.
        deduplication_id: answering again with the same one does nothing.
        bus: to send with; the durable bus by default.

    Raises:
        UnknownApproval: there is none with that id.
        ApprovalClosed: it is answered or withdrawn already. Of several answers at once exactly one is taken.
        ChatError: the text is none of the members to choose from.
        WorkflowClosed: the workflow is over.
    """
    with transaction.atomic():
        row = Approval.objects.filter(pk=approval).first()
        if row is None:
            raise UnknownApproval(f"There is no approval {approval}.")
        if row.purpose == ApprovalPurpose.SPEAKER and approved and text not in row.options:
            raise ChatError(f"{text!r} cannot be chosen to speak. Choose one of {', '.join(row.options)}.")
        key = row.key.removeprefix(f"{row.reply_to}:")
        # Sending first: it locks the workflow, as every handler does before it touches approvals.
        sent = (bus or ReliableCommunicationBus()).send(
            row.workflow_id,
            row.reply_to,
            ANSWER,
            {"key": key, "approved": approved, "text": text, "by": by},
            sender=DESK,
            deduplication_id=deduplication_id,
        )
        if sent.duplicate:
            return
        taken = Approval.objects.filter(pk=approval, status=ApprovalStatus.WAITING).update(
            status=ApprovalStatus.APPROVED if approved else ApprovalStatus.REJECTED,
            answer=storable(text),
            answered_by=storable(by)[:150],
            answered_at=timezone.now(),
        )
        if not taken:
            status = Approval.objects.values_list("status", flat=True).get(pk=approval)
            raise ApprovalClosed(f"Approval {approval} is {status} already. What was answered first holds.")


def withdraw(workflow: UUID, keys: Collection[str] | None = None) -> int:
    """Close approvals that need no answer any more.

    Args:
        workflow: whose.
        keys: which; None for all of them.

    Returns:
        How many were waiting.
    """
    waiting = Approval.objects.filter(workflow=workflow, status=ApprovalStatus.WAITING)
    if keys is not None:
        waiting = waiting.filter(key__in=keys)
    return waiting.update(status=ApprovalStatus.WITHDRAWN, answered_at=timezone.now())


def withdraw_ended() -> int:
    """Close approvals that wait although their workflow is over: an answer would reach nobody.

    The relay calls this; return how many.
    """
    waiting = whose_workflow_ended(Approval.objects.filter(status=ApprovalStatus.WAITING))
    found = list(waiting.values_list("pk", flat=True)[:MAX_WITHDRAWN])
    return Approval.objects.filter(pk__in=found, status=ApprovalStatus.WAITING).update(
        status=ApprovalStatus.WITHDRAWN, answered_at=timezone.now()
    )
