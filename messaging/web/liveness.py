"""Answers ``/health/live`` before anything else looks at the request: by IP, over plain HTTP, without a session.

Load balancers and orchestrators ask by address, which ``ALLOWED_HOSTS`` cannot list.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import NoReverseMatch, reverse


class LivenessMiddleware:
    """Put it first in ``MIDDLEWARE``.

    Args:
        get_response: what comes behind it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, or let the request pass."""
        if request.method in ("GET", "HEAD") and request.path == _path():
            return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})
        return self._get_response(request)


def _path() -> str:
    try:
        return reverse("nexus-live")
    except NoReverseMatch:
        return ""
