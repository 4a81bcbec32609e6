"""Messages: send, read, the transcript, waiting for a reply, and events as they come."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Query, Router
from ninja.responses import Status

from messaging.api import ReliableCommunicationBus, ReplyTimeout
from messaging.operating import Message, send_message
from nexus_api.callers import caller_of
from nexus_api.idempotency import once
from nexus_api.pages import MAX_PAGE
from nexus_api.problems import ApiProblem
from nexus_api.routing import changes, reads
from nexus_api.scopes import Scope
from nexus_api.shapes.answers import MessageDetailOut, MessageOut, ReceiptOut, TranscriptPage
from nexus_api.shapes.bodies import MessageIn
from nexus_api.showing import show_message
from nexus_api.slots import WAITING
from nexus_api.streams import LAST_EVENT_ID, open_stream
from nexus_api.visibility import find_message, find_workflow

router = Router(tags=["messages"])
MAX_WAIT = 25.0
"""Seconds: proxies give up after 30."""
MAX_DELIVERIES = 1_000
MAX_SEQUENCE = 2**63 - 1


@changes(
    router,
    "/workflows/{uuid:workflow_id}/messages",
    Scope.MESSAGES_SEND,
    {201: ReceiptOut},
    problems=(404, 409),
    repeatable=True,
)
def send(request: HttpRequest, workflow_id: UUID, body: MessageIn, response: HttpResponse) -> Status[dict[str, Any]]:
    caller = caller_of(request)
    find_workflow(caller, workflow_id)
    sender = caller.sender(body.sender)

    def work() -> dict[str, Any]:
        sent = send_message(workflow_id, recipient=body.recipient, type=body.type, data=body.data, sender=sender)
        return {"workflow": str(sent.workflow_id), "message": str(sent.id), "sequence": sent.sequence}

    return once(request, response, body, work)


@reads(
    router,
    "/workflows/{uuid:workflow_id}/messages",
    Scope.MESSAGES_READ,
    {200: TranscriptPage},
    problems=(404, 422),
)
def transcript(
    request: HttpRequest,
    workflow_id: UUID,
    after: Annotated[int, Query(ge=0, le=MAX_SEQUENCE)] = 0,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Any:
    workflow = find_workflow(caller_of(request), workflow_id)
    rows = Message.objects.filter(workflow=workflow, sequence__gt=after).order_by("sequence")
    found = list(rows[: limit + 1])
    following = found[limit - 1].sequence if len(found) > limit else None
    return {"items": [show_message(message) for message in found[:limit]], "next": following}


@reads(
    router,
    "/workflows/{uuid:workflow_id}/events",
    Scope.MESSAGES_READ,
    {200: None},
    problems=(404, 422),
    parameters=[
        {
            "in": "header",
            "name": LAST_EVENT_ID,
            "required": False,
            "description": "The sequence of the last message that was received; counts more than after.",
            "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        }
    ],
)
def events(
    request: HttpRequest, workflow_id: UUID, after: Annotated[int, Query(ge=0, le=MAX_SEQUENCE)] = 0
) -> HttpResponseBase:
    caller = caller_of(request)
    workflow = find_workflow(caller, workflow_id)
    last = request.headers.get(LAST_EVENT_ID)
    if last is not None:
        if not (last.isascii() and last.isdigit() and len(last) <= 18):
            raise ApiProblem(422, "invalid-values", f"{LAST_EVENT_ID}: expected the number of a message.")
        after = int(last)
    return open_stream(
        request,
        workflow.pk,
        after,
        identity=caller.identity,
        still_holds=caller.still_holds,
        slots=WAITING,
    )


@reads(router, "/messages/{uuid:message_id}", Scope.MESSAGES_READ, {200: MessageDetailOut}, problems=(404,))
def read_one(request: HttpRequest, message_id: UUID) -> Any:
    message = find_message(caller_of(request), message_id)
    deliveries = message.deliveries.order_by("pk").values("agent", "state", "attempts")
    return {**show_message(message), "deliveries": list(deliveries[:MAX_DELIVERIES])}


@reads(
    router,
    "/messages/{uuid:message_id}/reply",
    Scope.MESSAGES_READ,
    {200: MessageOut, 204: None},
    problems=(404, 422),
)
def wait_for_reply(
    request: HttpRequest, message_id: UUID, timeout: Annotated[float, Query(gt=0, le=MAX_WAIT)] = 10.0
) -> Any:
    caller = caller_of(request)
    message = find_message(caller, message_id)
    with WAITING.place(caller.identity):
        try:
            reply = ReliableCommunicationBus().wait_for_reply(message.pk, timeout)
        except ReplyTimeout:
            return Status(204, None)
    return show_message(find_message(caller, reply.message_id))
