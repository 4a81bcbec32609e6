"""What the JSON views have in common: who may call, how a body is read, and what an error looks like.

An error is ``{"error": "<its class>", "detail": "<what happened and what to do>"}`` with one of these:

======  ==============================================================================
status  means
======  ==============================================================================
400     the body is malformed: correct it
403     not logged in, or not permitted
404     no such workflow
405     another method is needed
409     the workflow takes no more messages, or the idempotency key is another request's
413     the body or the message is too large
415     the body is not JSON
422     nobody has the recipient's name
429     the recipient's mailbox is full: send later
503     the database is out of reach: try again
======  ==============================================================================
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError

from messaging.conf import get_settings
from messaging.core import strict_json
from messaging.core.errors import (
    EnvelopeError,
    EnvelopeTooLarge,
    MailboxFull,
    NexusError,
    UnknownAgent,
    UnknownGroup,
    UnknownWorkflow,
    WorkflowClosed,
    WorkflowLimit,
)

logger = logging.getLogger("nexus.web")

STATUS_OF_ERROR: tuple[tuple[type[NexusError], int], ...] = (
    (EnvelopeTooLarge, 413),
    (EnvelopeError, 400),
    (UnknownWorkflow, 404),
    (WorkflowClosed, 409),
    (WorkflowLimit, 409),
    (UnknownAgent, 422),
    (UnknownGroup, 422),
    (MailboxFull, 429),
)
ROOM_FOR_ATTRIBUTES = 8_192
"""Bytes that a body may be longer than the longest message."""
RETRY_AFTER = "5"

Body = TypeVar("Body", bound=msgspec.Struct)
View = Callable[..., HttpResponse]


class Refusal(Exception):
    """A request that is refused before it reaches the bus.

    Args:
        status: the HTTP status.
        detail: what is wrong and what is expected.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def _error(status: int, name: str, detail: str) -> JsonResponse:
    response = JsonResponse({"error": name, "detail": detail}, status=status)
    if status in (429, 503):
        response["Retry-After"] = RETRY_AFTER
    return response


def _check_permissions(request: HttpRequest, permissions: tuple[str, ...]) -> None:
    if not request.user.is_authenticated:
        raise Refusal(403, "Log in first (at /admin/login/), and send the session's cookie and CSRF token.")
    missing = [permission for permission in permissions if not request.user.has_perm(permission)]
    if missing:
        raise Refusal(403, f"{request.user.get_username()} lacks the permission {', '.join(missing)}.")


def endpoint(method: str, *permissions: str) -> Callable[[View], View]:
    """Make a view of JSON.

    Args:
        method: the HTTP method that it takes.
        permissions: that the user needs, all of them.
    """

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            try:
                if request.method != method:
                    response = _error(405, "MethodNotAllowed", f"{request.method} is not possible here; use {method}.")
                    response["Allow"] = method
                    return response
                _check_permissions(request, permissions)
                return view(request, *args, **kwargs)
            except Refusal as refusal:
                return _error(refusal.status, "Refused", str(refusal))
            except NexusError as error:
                for kind, status in STATUS_OF_ERROR:
                    if isinstance(error, kind):
                        return _error(status, type(error).__name__, str(error))
                raise
            except (OperationalError, InterfaceError):
                logger.exception("%s failed: the database is out of reach.", request.path)
                return _error(
                    503, "DatabaseUnavailable", "The database is out of reach; nothing was stored. Try again."
                )

        return answer

    return decorate


def read_body(request: HttpRequest, shape: type[Body]) -> Body:
    """Read a request's JSON body.

    Args:
        request: with the body.
        shape: what the body has to be.

    Raises:
        Refusal: it is too large, is not declared as JSON, or misses or adds something.
        EnvelopeError: it is no strict JSON.
    """
    if request.content_type != "application/json":
        given = (request.content_type or "")[:100]
        raise Refusal(415, f"Content-Type is {given!r}; application/json is expected.")
    limit = get_settings().max_message_bytes + ROOM_FOR_ATTRIBUTES
    try:
        body = request.body
    except RequestDataTooBig:
        raise Refusal(413, f"The body is larger than {limit} bytes.") from None
    except UnreadablePostError:
        raise Refusal(400, "The body ended early.") from None
    if len(body) > limit:
        raise Refusal(413, f"The body has {len(body)} bytes; at most {limit} are taken.")
    try:
        return msgspec.convert(strict_json.loads(body), shape)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"The body does not fit: {error}.") from None
