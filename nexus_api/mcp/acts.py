"""What the tools do. Each asks for its scopes, and speaks as one agent only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from agents.api import answer_approval
from messaging.api import EnvelopeError, ReliableCommunicationBus, ReplyTimeout, SentMessage
from messaging.extension import json_size
from messaging.operating import Message, send_message, start_workflow
from nexus_api.callers import Caller
from nexus_api.models import WorkflowOrigin
from nexus_api.scopes import Scope
from nexus_api.showing import labels_of, show_approval, show_message
from nexus_api.visibility import find_approval, find_message, find_workflow, note_origin, visible_approvals

MAX_WAIT = 300.0
"""Seconds that a call waits for a reply."""
MAX_SHOWN = 100
"""Messages, or approvals, of one answer."""
MAX_DATA = 20_000
"""Bytes of JSON of one message's data; what is longer is left out, and said to be."""
MAX_TRANSCRIPT = 200_000
"""Bytes of JSON of one answer's data."""
MAX_KEY = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class McpActs:
    """What one caller may do.

    Args:
        caller: whoever it is.
        agent: as whom they speak; None for their first.
    """

    caller: Caller
    agent: str | None = None

    def send(
        self, recipient: str, type: str, data: Any, workflow: UUID | None, name: str, key: str | None
    ) -> dict[str, Any]:
        """Send a message, into a new workflow unless one is given."""
        sent = self._send(recipient, type, data, workflow, name, key)
        return {"workflow": str(sent.workflow_id), "message": str(sent.id), "sequence": sent.sequence}

    def ask(
        self, recipient: str, type: str, data: Any, workflow: UUID | None, name: str, key: str | None, timeout: float
    ) -> dict[str, Any]:
        """Send a message and wait for its reply."""
        self.caller.check(Scope.MESSAGES_READ)
        _check_wait(timeout)
        sent = self._send(recipient, type, data, workflow, name, key)
        return {"workflow": str(sent.workflow_id), **self._wait(sent.id, timeout)}

    def wait_for_reply(self, message: UUID, timeout: float) -> dict[str, Any]:
        """Wait for the reply to a message that was sent before."""
        self.caller.check(Scope.MESSAGES_READ)
        _check_wait(timeout)
        return self._wait(find_message(self.caller, message).pk, timeout)

    def read_transcript(self, workflow: UUID, after: int, limit: int) -> dict[str, Any]:
        """Messages of a workflow in their order."""
        self.caller.check(Scope.MESSAGES_READ)
        rows = Message.objects.filter(workflow=find_workflow(self.caller, workflow), sequence__gt=after)
        limit = max(1, min(limit, MAX_SHOWN))
        found = list(rows.order_by("sequence")[: limit + 1])
        shown: list[dict[str, Any]] = []
        size = 0
        for message in found[:limit]:
            item = _shown(message)
            size += json_size(json.dumps(item["data"]))
            if shown and size > MAX_TRANSCRIPT:
                break
            shown.append(item)
        more = len(found) > len(shown)
        return {"messages": shown, "next": shown[-1]["sequence"] if more and shown else None}

    def list_approvals(self, workflow: UUID | None) -> dict[str, Any]:
        """What waits for a person, the oldest first."""
        self.caller.check(Scope.APPROVALS_READ)
        rows = visible_approvals(self.caller).filter(status="waiting")
        if workflow is not None:
            rows = rows.filter(workflow=workflow)
        return {"approvals": [_plain(show_approval(row)) for row in rows.order_by("created_at", "pk")[:MAX_SHOWN]]}

    def answer_approval(self, approval: UUID, approved: bool, text: str) -> dict[str, Any]:
        """Approve or reject."""
        self.caller.check(Scope.APPROVALS_ANSWER)
        find_approval(self.caller, approval)
        answer_approval(approval, approved=approved, text=text, by=self.caller.name)
        return _plain(show_approval(find_approval(self.caller, approval)))

    def _send(
        self, recipient: str, type: str, data: Any, workflow: UUID | None, name: str, key: str | None
    ) -> SentMessage:
        caller = self.caller
        caller.check(Scope.MESSAGES_SEND)
        sender = caller.sender(self.agent)
        if key is not None and not 1 <= len(key) <= MAX_KEY:
            raise EnvelopeError("key", f"expected 1 to {MAX_KEY} characters")
        # A key is its caller's own: with another's it would find the other's workflow.
        own_key = None if key is None else f"mcp:{caller.identity}:{key}"
        with transaction.atomic():
            if workflow is None:
                caller.check(Scope.WORKFLOWS_START)
                workflow = start_workflow(name=name, deduplication_id=own_key)
                if not WorkflowOrigin.objects.filter(pk=workflow).exists():
                    note_origin(caller, workflow)
            else:
                find_workflow(caller, workflow)
            return send_message(
                workflow, recipient=recipient, type=type, data=data, sender=sender, deduplication_id=own_key
            )

    def _wait(self, message: UUID, timeout: float) -> dict[str, Any]:
        try:
            reply = ReliableCommunicationBus().wait_for_reply(message, timeout)
        except ReplyTimeout:
            return {"message": str(message), "answered": False, "reply": None}
        return {"message": str(message), "answered": True, "reply": _shown(find_message(self.caller, reply.message_id))}


def _check_wait(timeout: float) -> None:
    if not 0 < timeout <= MAX_WAIT:
        raise EnvelopeError("timeout", f"expected more than 0 and at most {MAX_WAIT:g} seconds")


def _shown(message: Message) -> dict[str, Any]:
    """A message as a model may read it: not too long, and with where its content comes from."""
    item = show_message(message)
    size = json_size(json.dumps(item["data"]))
    if size > MAX_DATA:
        item |= {"data": None, "left_out": f"its data have {size} bytes; at most {MAX_DATA} are shown here"}
    return _plain({**item, "labels": labels_of(message)})


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    """With identifiers and times as JSON has them."""
    read: dict[str, Any] = json.loads(json.dumps(item, cls=DjangoJSONEncoder))
    return read
