"""Dead letters: list, read, replay, discard."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Router

from messaging.operating import DeadLetter, check_text, discard_letter, replay_letter
from nexus_api.callers import Caller, caller_of
from nexus_api.pages import MAX_PAGE, page
from nexus_api.problems import not_found
from nexus_api.routing import changes, reads
from nexus_api.scopes import Scope
from nexus_api.shapes.answers import DeadLetterDetailOut, DeadLetterPage
from nexus_api.shapes.bodies import DiscardIn
from nexus_api.visibility import visible_workflows

router = Router(tags=["dead letters"])
MAX_BODY = 65_536


def _visible(caller: Caller) -> QuerySet[DeadLetter]:
    """Those of the caller's workflows; what belongs to no workflow only callers see who see everything."""
    rows = DeadLetter.objects.all()
    return rows if caller.sees_all else rows.filter(workflow__in=visible_workflows(caller).values("pk"))


def _find(caller: Caller, letter_id: int) -> DeadLetter:
    found = _visible(caller).filter(pk=letter_id).first() if letter_id < 2**63 else None
    if found is None:
        raise not_found("dead letter", letter_id)
    return found


def _show(letter: DeadLetter) -> dict[str, Any]:
    fields = ("id", "agent", "message_type", "reason", "error", "place", "copies", "status", "created_at",
              "resolved_at", "resolved_by", "resolution")  # fmt: skip
    return {**{field: getattr(letter, field) for field in fields}, "workflow": letter.workflow_id}


def _detail(letter: DeadLetter) -> dict[str, Any]:
    body = bytes(letter.body)[:MAX_BODY].decode("utf-8", "replace")
    return {**_show(letter), "detail": letter.detail, "body": body}


@reads(router, "", Scope.DEAD_LETTERS_READ, {200: DeadLetterPage}, problems=(422,))
def list_dead_letters(
    request: HttpRequest,
    status: Literal["open", "replayed", "discarded"] = "open",
    agent: Annotated[str | None, Query(min_length=1, max_length=100)] = None,
    workflow: UUID | None = None,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Any:
    rows = _visible(caller_of(request)).filter(status=status)
    if agent is not None:
        check_text("agent", agent)
        rows = rows.filter(agent=agent)
    if workflow is not None:
        rows = rows.filter(workflow=workflow)
    return page(rows, ("-pk",), cursor, limit, _show)


@reads(router, "/{int:letter_id}", Scope.DEAD_LETTERS_READ, {200: DeadLetterDetailOut}, problems=(404,))
def read(request: HttpRequest, letter_id: int) -> Any:
    return _detail(_find(caller_of(request), letter_id))


@changes(
    router,
    "/{int:letter_id}/replay",
    Scope.DEAD_LETTERS_RESOLVE,
    {200: DeadLetterDetailOut},
    problems=(404, 409),
    body=False,
)
def replay_one(request: HttpRequest, letter_id: int) -> Any:
    caller = caller_of(request)
    replay_letter(_find(caller, letter_id).pk, actor=caller.actor)
    return _detail(_find(caller, letter_id))


@changes(
    router, "/{int:letter_id}/discard", Scope.DEAD_LETTERS_RESOLVE, {200: DeadLetterDetailOut}, problems=(404, 409)
)
def discard_one(request: HttpRequest, letter_id: int, body: DiscardIn) -> Any:
    caller = caller_of(request)
    discard_letter(_find(caller, letter_id).pk, actor=caller.actor, reason=body.reason)
    return _detail(_find(caller, letter_id))
