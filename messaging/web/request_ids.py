"""``X-Request-Id``: what a caller sends, or a new one, stands in every log line of its request and in the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from messaging.core.request_ids import ATTRIBUTE, answering

HEADER = "X-Request-Id"


class RequestIdMiddleware:
    """Put it before whatever logs in ``MIDDLEWARE``, and ``RequestIdFilter`` at the log's handlers.

    Args:
        get_response: what comes behind it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Let the request pass under its id."""
        if self._is_async:
            return self._answer_async(request)
        with answering(request.headers.get(HEADER)) as chosen:
            setattr(request, ATTRIBUTE, chosen)
            response: HttpResponseBase = self._get_response(request)
        response[HEADER] = chosen
        return response

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        with answering(request.headers.get(HEADER)) as chosen:
            setattr(request, ATTRIBUTE, chosen)
            response: HttpResponseBase = await self._get_response(request)
        response[HEADER] = chosen
        return response
