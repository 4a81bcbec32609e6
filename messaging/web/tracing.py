"""A span around each view, so that what it sends belongs to one trace."""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse

from messaging.core import trace_names as names
from messaging.core import tracing
from messaging.core.envelope_rules import is_traceparent


class TracingMiddleware:
    """Put it near the top of ``MIDDLEWARE``; it is left out where nothing is traced.

    Args:
        get_response: what comes behind it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not tracing.is_on():
            raise MiddlewareNotUsed
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Let the request pass, in a span of its own unless the project's own instrumentation has opened one."""
        if tracing.current() is not None:
            return self._get_response(request)
        came_with = request.headers.get("traceparent", "")
        parent = came_with if is_traceparent(came_with) else None
        method = request.method or "GET"
        with tracing.within(method, "server", {names.HTTP_METHOD: method}, parent=parent) as span:
            response = self._get_response(request)
            route = request.resolver_match.route if request.resolver_match else ""
            span.note({names.HTTP_ROUTE: f"/{route}", names.HTTP_STATUS: response.status_code})
            return response
