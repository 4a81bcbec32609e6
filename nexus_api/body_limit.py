"""How long a body may be.

Under ASGI Django keeps a request's whole body in a file before any view sees the request, declared or not. Under WSGI
nobody reads what no view asks for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from django.conf import settings

from messaging.extension import get_settings
from nexus_api.problems import ApiProblem, answer_error

ROOM_FOR_ATTRIBUTES = 8_192
"""Bytes that a body may be longer than the longest message."""

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Event, Receive, Send], Awaitable[None]]


def longest_body() -> int:
    """How long a body of the API may be, in bytes."""
    return get_settings().max_message_bytes + ROOM_FOR_ATTRIBUTES


def too_long(limit: int) -> ApiProblem:
    """The refusal of a longer one."""
    return ApiProblem(413, "body-too-large", f"At most {limit} bytes are taken: send less, or where it can be found.")


class _TooLong(Exception):
    """More of a body came than is taken."""


class BodyLimit:
    """Put it around ``get_asgi_application()``: whoever sends a longer body is answered 413, and the rest is not read.

    The limit is ``DATA_UPLOAD_MAX_MEMORY_SIZE``, or the API's where that is more. Where the setting is None, as Django
    has it for "unlimited", there is none.

    Args:
        application: an ASGI application.
    """

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        of_django = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if scope["type"] != "http" or of_django is None:
            await self._application(scope, receive, send)
            return
        limit = max(of_django, longest_body())
        taken = 0

        async def counted() -> Event:
            nonlocal taken
            event = await receive()
            taken += len(event.get("body", b""))
            if taken > limit:
                raise _TooLong
            return event

        try:
            await self._application(scope, counted, send)
        except _TooLong:
            await _answer(send, scope["path"], too_long(limit))


async def _answer(send: Send, path: str, problem: ApiProblem) -> None:
    response = answer_error(problem, path)
    response["Content-Length"] = str(len(response.content))
    response["Connection"] = "close"  # the rest of the body is on its way
    headers = [(name.encode("ascii").lower(), value.encode("latin-1")) for name, value in response.items()]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
