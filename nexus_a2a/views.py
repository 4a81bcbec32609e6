"""What is served: JSON-RPC for each team, cards, and the keys that sign them."""

from __future__ import annotations

import re
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from messaging.api import EnvelopeError
from messaging.operating import loads
from nexus_a2a.cards import VERSION as SUPPORTED
from nexus_a2a.cards import card_of, check_offered, offered_teams
from nexus_a2a.errors import INVALID_REQUEST, NO_JSON, NO_METHOD, VERSION, A2AProblem, problem_of
from nexus_a2a.following import TaskFollower
from nexus_a2a.methods import METHODS, MethodCall
from nexus_a2a.signing import key_set
from nexus_api.callers import BearerToken, Caller
from nexus_api.problems import ApiProblem, not_found
from nexus_api.scopes import Scope
from nexus_api.streams import follow

VERSION_HEADER = "A2A-Version"
OLD = "0.3"
"""What a client speaks that does not say."""
CACHED = "public, max-age=300"
_same_version = re.compile(r"1\.0(\.\d{1,9})?").fullmatch


@require_POST
def rpc(request: HttpRequest, team: str) -> HttpResponseBase:
    """A JSON-RPC request to a team."""
    check_offered(team)
    request_id: Any = None
    method = ""
    try:
        body = _read(request)
        request_id = _id_of(body)
        method = _method_of(body)
        caller = _admit(request)  # before anything is said to strangers
        _check_version(request)
        if method not in METHODS:
            raise A2AProblem(NO_METHOD, f"A2A {SUPPORTED} has no method {method[:100]!r}.")
        result = METHODS[method](MethodCall(caller, team, request_id, body.get("params")))
        if isinstance(result, TaskFollower):
            return follow(request, result, identity=caller.identity)
    except Exception as error:  # noqa: BLE001 - every error has its answer; defects are logged there
        problem = problem_of(error, method or "a request")
        answer = {"jsonrpc": "2.0", "id": request_id, "error": problem.data()}
        return JsonResponse(answer, status=problem.status, headers=problem.headers)
    return JsonResponse({"jsonrpc": "2.0", "id": request_id, "result": result}, encoder=DjangoJSONEncoder)


def _read(request: HttpRequest) -> dict[str, Any]:
    try:
        body = loads(request.body)
    except EnvelopeError as error:
        raise A2AProblem(NO_JSON, str(error)) from None
    if not isinstance(body, dict):
        raise A2AProblem(INVALID_REQUEST, "Expected one JSON-RPC request, as an object.")
    return body


def _id_of(body: dict[str, Any]) -> str | int | None:
    request_id = body.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | None):
        raise A2AProblem(INVALID_REQUEST, "id: expected a string, an integer or null.")
    return request_id


def _method_of(body: dict[str, Any]) -> str:
    method = body.get("method")
    if body.get("jsonrpc") != "2.0" or not isinstance(method, str) or not method:
        raise A2AProblem(INVALID_REQUEST, 'Expected {"jsonrpc": "2.0", "id": …, "method": …, "params": {…}}.')
    if not isinstance(body.get("params", {}), dict | None):
        raise A2AProblem(INVALID_REQUEST, "params: expected an object.")
    return method


def _check_version(request: HttpRequest) -> None:
    spoken = request.headers.get(VERSION_HEADER) or request.GET.get(VERSION_HEADER) or OLD
    if _same_version(spoken) is None:
        raise A2AProblem(
            VERSION,
            f"A2A {spoken[:20]} is not spoken here. Speak {SUPPORTED} and say so in the header {VERSION_HEADER}.",
        )


def _admit(request: HttpRequest) -> Caller:
    caller = BearerToken(Scope.MESSAGES_READ)(request)
    if not isinstance(caller, Caller):
        challenge = {"WWW-Authenticate": "Bearer"}
        raise ApiProblem(401, "not-authenticated", "Send a token: Authorization: Bearer …", headers=challenge)
    return caller


@require_safe
def card(request: HttpRequest, team: str = "") -> HttpResponseBase:
    """A team's card; without a name that of the first team."""
    teams = offered_teams()
    if not team and not teams:
        raise not_found("agent", "here")

    def url_of(name: str) -> str:
        return request.build_absolute_uri(reverse("nexus-a2a", args=[name]))

    shown = card_of(team or teams[0], url_of, request.build_absolute_uri(reverse("nexus-a2a-keys")))
    return JsonResponse(shown, headers={"Cache-Control": CACHED})


@require_safe
def keys(request: HttpRequest) -> HttpResponseBase:
    """The public keys of cards."""
    return JsonResponse(key_set(), content_type="application/jwk-set+json", headers={"Cache-Control": CACHED})
