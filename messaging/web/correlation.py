"""What a request's log lines and trace have in common: an id that the answer names, and a span around the view."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from messaging.core import trace_names as names
from messaging.core import tracing
from messaging.core.envelope_rules import is_traceparent
from messaging.core.ids import uuid7
from messaging.core.json_lines import request_id

HEADER = "X-Request-Id"
_IS_ID = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


class CorrelationMiddleware:
    """Put it near the top of ``MIDDLEWARE``.

    Args:
        get_response: what comes behind it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let the request pass, under the id that it came with or a new one."""
        given = request.headers.get(HEADER, "")
        identifier = given if _IS_ID(given) else str(uuid7())
        token = request_id.set(identifier)
        try:
            # A span that is there already is the project's own instrumentation.
            traced = tracing.is_on() and tracing.current() is None
            response = self._traced(request) if traced else self._get_response(request)
        finally:
            request_id.reset(token)
        response.headers.setdefault(HEADER, identifier)
        return response

    def _traced(self, request: HttpRequest) -> HttpResponse:
        came_with = request.headers.get("traceparent", "")
        parent = came_with if is_traceparent(came_with) else None
        method = request.method or "GET"
        with tracing.within(method, "server", {names.HTTP_METHOD: method}, parent=parent) as span:
            response = self._get_response(request)
            route = request.resolver_match.route if request.resolver_match else ""
            span.note({names.HTTP_ROUTE: f"/{route}", names.HTTP_STATUS: response.status_code})
            return response
