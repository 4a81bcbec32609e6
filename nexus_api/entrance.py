"""What every request of the API passes before and behind its endpoint."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.utils.http import quote_etag
from django.views.decorators.csrf import csrf_exempt

from messaging.operating import answering, request_id
from nexus_api.body_limit import longest_body, too_long
from nexus_api.problems import CONTENT_TYPE, ApiProblem, answer_error, answer_problem

REQUEST_ID = "X-Request-Id"

View = Callable[..., HttpResponseBase]


def enter(view: View) -> View:
    """Make a view one of the API: its errors are problems, its answers have ETags and a request id."""

    @csrf_exempt  # sessions are checked where callers are: a token needs no CSRF token
    @transaction.non_atomic_requests  # an answer that is kept, and a wait, need transactions of their own
    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request_id():
            return _answer(view, request, args, kwargs)
        with answering(request.headers.get(REQUEST_ID)) as chosen:  # the site lacks the middleware
            response = _answer(view, request, args, kwargs)
            response[REQUEST_ID] = chosen
            return response

    return answer


def _answer(view: View, request: HttpRequest, args: Any, kwargs: Any) -> HttpResponseBase:
    try:
        _check_body(request)
        response = view(request, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - every error has its answer; defects are logged there
        response = answer_error(error, request.path)
    if response.status_code == 405 and response["Content-Type"] != CONTENT_TYPE:
        allowed = response["Allow"]
        response = answer_problem(
            405,
            "method-not-allowed",
            f"{request.method} is not possible here; use {allowed}.",
            headers={"Allow": allowed},
        )
    patch_vary_headers(response, ["Authorization", "Cookie"])
    response.setdefault("Cache-Control", "private, no-cache")
    if request.method == "GET" and response.status_code == 200 and isinstance(response, HttpResponse):
        return _with_etag(request, response)
    return response


def _with_etag(request: HttpRequest, response: HttpResponse) -> HttpResponseBase:
    etag = quote_etag(hashlib.sha256(response.content).hexdigest()[:32])
    response["ETag"] = etag
    return get_conditional_response(request, etag=etag, response=response) or response


def _check_body(request: HttpRequest) -> None:
    """Refuse bodies that are too large or declared as something else, before they are read."""
    if "Transfer-Encoding" in request.headers:
        raise ApiProblem(411, "length-required", "Send the body in one piece, with its Content-Length.")
    declared = request.META.get("CONTENT_LENGTH") or "0"
    if not declared.isdecimal() or int(declared) > longest_body():
        raise too_long(longest_body())
    if request.method == "POST" and int(declared) and request.content_type != "application/json":
        given = (request.content_type or "")[:100]
        raise ApiProblem(415, "not-json", f"Content-Type is {given!r}; application/json is expected.")


def nothing_here(request: HttpRequest) -> HttpResponse:
    """Whatever no endpoint answers."""
    return answer_problem(404, "not-found", "There is nothing here. See the list of endpoints in docs.")
