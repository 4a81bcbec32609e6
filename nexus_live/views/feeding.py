"""What a live page reads: a stream under ASGI, or short requests."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from nexus_api.feeds import AT_ONCE, Teller, read_after
from nexus_api.problems import ApiProblem
from nexus_api.showing import show_message
from nexus_api.slots import VIEWERS, WAITING
from nexus_api.streams import LAST_EVENT_ID, is_asgi, open_stream
from nexus_live.access import Visitor, find_workflow
from nexus_live.entrance import feeding, visitor_of
from nexus_live.standing import tell_all, tell_readers

MAX_DIGITS = 18


def _after(request: HttpRequest) -> int:
    given = request.headers.get(LAST_EVENT_ID) or request.GET.get("after", "0")
    if not (given.isascii() and given.isdigit() and len(given) <= MAX_DIGITS):
        raise ApiProblem(422, "invalid-values", "after: expected the number of a message.")
    return int(given)


def _teller(visitor: Visitor) -> Teller:
    return tell_all if visitor.may_answer else tell_readers


def _workflow(visitor: Visitor, workflow_id: UUID | None) -> UUID:
    wanted = visitor.link.workflow_id if visitor.link is not None else workflow_id
    if wanted is None:
        raise ApiProblem(404, "not-found", "There is no such workflow.")
    return find_workflow(visitor, wanted).pk


@feeding
def events(request: HttpRequest, workflow_id: UUID | None = None, token: str | None = None) -> HttpResponseBase:
    """Messages and how the workflow stands, as they come."""
    after = _after(request)
    visitor = visitor_of(request, token)
    wanted = _workflow(visitor, workflow_id)
    return open_stream(
        request,
        wanted,
        after,
        identity=visitor.identity,
        still_holds=lambda: visitor.sees(wanted),
        slots=VIEWERS if is_asgi(request) else WAITING,
        teller=_teller(visitor),
    )


@feeding
def poll(request: HttpRequest, workflow_id: UUID | None = None, token: str | None = None) -> JsonResponse:
    """What is new, at once."""
    after = _after(request)
    visitor = visitor_of(request, token)
    wanted = _workflow(visitor, workflow_id)
    state = _teller(visitor)([wanted]).get(wanted, {})  # before the messages: those of one who ended it are read then
    rows = read_after(wanted, after)
    return JsonResponse({"messages": [show_message(row) for row in rows], "state": state, "more": len(rows) == AT_ONCE})
