"""A workflow as JSON: what its rows and envelopes say, a message at a time, so that its length does not matter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from messaging.core.errors import EnvelopeError, UnknownWorkflow
from messaging.core.ids import MAX_DELIVERIES
from messaging.models import Delivery, Mailbox, Message, Workflow
from messaging.operators.timeline import read_deliveries
from messaging.security.labels.tracing import parse_stored

FORMAT = "nexus.workflow/1"
CHUNK = 200


def find_workflow(workflow_id: UUID) -> Workflow:
    """The workflow with that id.

    Raises:
        UnknownWorkflow: there is none.
    """
    found = Workflow.objects.filter(pk=workflow_id).first()
    if found is None:
        raise UnknownWorkflow(f"There is no workflow {workflow_id}. It may have ended and been removed from the log.")
    return found


def messages_in_parts(messages: QuerySet[Message]) -> Iterator[list[Message]]:
    """Messages of one workflow by their sequence, ``CHUNK`` at a time."""
    last = 0
    while some := list(messages.filter(sequence__gt=last).order_by("sequence")[:CHUNK]):
        yield some
        last = some[-1].sequence


def export_json(workflow: Workflow) -> Iterator[str]:
    """The pieces of one JSON object: the workflow, its mailboxes, and its messages with their deliveries."""
    head = describe(workflow) | {"mailboxes": _mailboxes(workflow)}
    yield json.dumps({"format": FORMAT, **head}, ensure_ascii=False)[:-1] + ', "messages": ['
    separator = "\n"
    for some in messages_in_parts(Message.objects.filter(workflow=workflow)):
        by_message: dict[UUID, list[Delivery]] = {}
        for delivery in read_deliveries([message.pk for message in some], limit=CHUNK * MAX_DELIVERIES):
            by_message.setdefault(delivery.message_id, []).append(delivery)
        for message in some:
            yield separator + json.dumps(_message(message, by_message.get(message.pk, [])), ensure_ascii=False)
            separator = ",\n"
    yield "]}\n"


def describe(workflow: Workflow) -> dict[str, Any]:
    """A workflow's row, for programs."""
    return {
        "workflow": str(workflow.pk),
        "name": workflow.name,
        "status": workflow.status,
        "reason": workflow.status_reason,
        "messages": workflow.sequence,
        "created_at": workflow.created_at.isoformat(),
        "ended_at": workflow.ended_at.isoformat() if workflow.ended_at else None,
    }


def _mailboxes(workflow: Workflow) -> list[dict[str, Any]]:
    found = Mailbox.objects.filter(workflow=workflow).order_by("agent")
    return [dict(row) for row in found.values("agent", "sent", "processed", "labels")]


def _message(message: Message, deliveries: list[Delivery]) -> dict[str, Any]:
    body = bytes(message.envelope)
    try:
        parse_stored(body)
        envelope: Any = json.loads(body)
    except EnvelopeError as error:
        envelope = {"unreadable": str(error), "hex": body.hex()}
    return {
        "message": str(message.pk),
        "sequence": message.sequence,
        "envelope": envelope,
        "sha256": hashlib.sha256(body).hexdigest(),
        "signature": message.signature,
        "deliveries": [
            {
                "agent": row.agent,
                "position": row.position,
                "state": row.state,
                "attempts": row.attempts,
                "settled_at": row.settled_at.isoformat() if row.settled_at else None,
                "last_error": row.last_error,
            }
            for row in deliveries
        ],
    }
