"""JSON views: start a workflow, send into one, ask how far it is.

==================================  ================================================================================
``POST /workflows/``                ``{"name", "recipient", "type", "data"?, "deduplication_id"?}`` starts one
``POST /workflows/<id>/messages/``  ``{"recipient", "type", "data"?, "deduplication_id"?}`` sends into it
``GET /workflows/<id>/``            status and counters
==================================  ================================================================================

Both POSTs answer 201 with ``{"workflow", "message", "sequence"}``, or 200 with the same when the request was made
before: repeat a request whose answer was lost with its ``Idempotency-Key`` header (each user's own) or its
``deduplication_id`` (everybody's). None of them waits for the broker, or for the message to be handled.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.http import HttpRequest, HttpResponse, JsonResponse

from messaging.conf import get_settings
from messaging.core.envelope import parse_envelope
from messaging.core.errors import UnknownWorkflow
from messaging.core.messages import SentMessage
from messaging.models import DeadLetterStatus, Mailbox, Message, Workflow
from messaging.operators.teams import send_message, start_team
from messaging.web.api import Refusal, endpoint, read_body

SENDER = "web"
MAX_MAILBOXES = 1_000
MAX_KEY = 150


class MessageBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A message to send."""

    recipient: str
    type: str
    data: Any = None
    deduplication_id: str | None = None


class WorkflowBody(MessageBody, forbid_unknown_fields=True, kw_only=True):
    """A workflow to start with its first message."""

    name: str


def _deduplication_id(request: HttpRequest, body: MessageBody) -> str | None:
    """The body's id, or the header's key under the user's id, so that no user meets another one's keys."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return body.deduplication_id
    if body.deduplication_id is not None:
        raise Refusal(400, "Give either the Idempotency-Key header or deduplication_id, not both.")
    if not 1 <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise Refusal(400, f"Idempotency-Key: 1 to {MAX_KEY} printable ASCII characters are expected.")
    return f"user {request.user.pk}: {key}"


def _check_same(sent: SentMessage, body: MessageBody) -> None:
    """A repeated request is the first one again; otherwise its caller would believe that this one was sent."""
    row = Message.objects.select_related("workflow").get(pk=sent.id)
    first = parse_envelope(bytes(row.envelope), max_bytes=get_settings().max_message_bytes)
    same = (first.subject, first.type, first.data) == (body.recipient, body.type, body.data)
    if isinstance(body, WorkflowBody):
        same = same and row.workflow.name == body.name
    if not same:
        raise Refusal(409, "Another request was made with this Idempotency-Key or deduplication_id. Use a new one.")


def _receipt(sent: SentMessage, body: MessageBody) -> JsonResponse:
    if sent.duplicate:
        _check_same(sent, body)
    return JsonResponse(
        {"workflow": str(sent.workflow_id), "message": str(sent.id), "sequence": sent.sequence},
        status=200 if sent.duplicate else 201,
    )


@endpoint("POST", "nexus.add_workflow", "nexus.add_message")
def start(request: HttpRequest) -> HttpResponse:
    """Start a workflow with its first message."""
    body = read_body(request, WorkflowBody)
    sent = start_team(
        name=body.name,
        recipient=body.recipient,
        type=body.type,
        data=body.data,
        sender=SENDER,
        deduplication_id=_deduplication_id(request, body),
    )
    return _receipt(sent, body)


@endpoint("POST", "nexus.add_message")
def send(request: HttpRequest, workflow_id: UUID) -> HttpResponse:
    """Send a message into a workflow."""
    body = read_body(request, MessageBody)
    sent = send_message(
        workflow_id,
        recipient=body.recipient,
        type=body.type,
        data=body.data,
        sender=SENDER,
        deduplication_id=_deduplication_id(request, body),
    )
    return _receipt(sent, body)


@endpoint("GET", "nexus.view_workflow")
def status(request: HttpRequest, workflow_id: UUID) -> HttpResponse:
    """How far a workflow has come."""
    workflow = Workflow.objects.filter(pk=workflow_id).first()
    if workflow is None:
        raise UnknownWorkflow(f"There is no workflow {workflow_id}.")
    mailboxes = Mailbox.objects.filter(workflow=workflow_id).order_by("agent").values("agent", "sent", "processed")
    return JsonResponse(
        {
            "workflow": str(workflow.pk),
            "name": workflow.name,
            "status": workflow.status,
            "status_reason": workflow.status_reason,
            "sequence": workflow.sequence,
            "mailboxes": list(mailboxes[:MAX_MAILBOXES]),
            "open_dead_letters": workflow.dead_letters.filter(status=DeadLetterStatus.OPEN).count(),
            "created_at": workflow.created_at,
            "ended_at": workflow.ended_at,
        }
    )
