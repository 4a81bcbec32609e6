"""Making endpoints: none is made without a scope, and each says which answers it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ninja import Router

from nexus_api.callers import BearerToken, SessionCookie
from nexus_api.idempotency import HEADER, MAX_KEY
from nexus_api.scopes import Scope
from nexus_api.shapes.answers import ProblemOut

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

ALWAYS = (401, 403, 429, 503)
IDEMPOTENCY_KEY = {
    "in": "header",
    "name": HEADER,
    "required": False,
    "description": "Repeat a request whose answer was lost with the same key: it is done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
}


def _problems(*statuses: int) -> dict[int, Any]:
    return dict.fromkeys(sorted({*ALWAYS, *statuses}), ProblemOut)


def _guard(scope: Scope) -> list[Any]:
    return [BearerToken(scope), SessionCookie(scope)]


def reads(
    router: Router, path: str, scope: Scope, answers: dict[int, Any], *, problems: tuple[int, ...] = (), **extra: Any
) -> Decorator:
    """An endpoint that changes nothing.

    Args:
        router: of its part of the API.
        path: below the router's.
        scope: that its callers need.
        answers: status → what is answered.
        problems: further statuses of errors.
        extra: for OpenAPI.
    """
    responses = {**answers, 304: None, **_problems(*problems)}
    return router.get(path, auth=_guard(scope), response=responses, description=_needs(scope), openapi_extra=extra)


def changes(
    router: Router,
    path: str,
    scope: Scope,
    answers: dict[int, Any],
    *,
    problems: tuple[int, ...] = (),
    body: bool = True,
    repeatable: bool = False,
) -> Decorator:
    """An endpoint that changes something. The arguments are those of ``reads``.

    Args:
        body: whether it takes a body.
        repeatable: whether it takes an Idempotency-Key.
    """
    of_body = (400, 411, 413, 415, 422) if body else ()
    responses = {**answers, **_problems(*of_body, *problems)}
    extra: dict[str, Any] = {"parameters": [IDEMPOTENCY_KEY]} if repeatable else {}
    return router.post(path, auth=_guard(scope), response=responses, description=_needs(scope), openapi_extra=extra)


def _needs(scope: Scope) -> str:
    return f"Needs the scope `{scope}`."
