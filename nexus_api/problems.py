"""Errors as RFC 9457 has them: ``application/problem+json``.

======  ==============================================================================
status  means
======  ==============================================================================
400     the body is no JSON, or a header is malformed
401     no token or session, or one that does not hold (any more)
403     not permitted: a scope, a permission, the access policy, the CSRF token
404     there is no such thing, or none that the caller may see
405     another method is needed
409     it cannot be done as things stand, or the same request is in flight
411     the body comes in pieces, without its length
413     the body or the message is too large
415     the body is not JSON
422     a value cannot be, or the Idempotency-Key was used for another request
429     too many requests, or the recipient's mailbox is full: later
500     a defect; the request id leads to it in the logs
503     the database is out of reach, or all streams are taken: later
======  ==============================================================================
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from agents.api import ApprovalClosed, ChatError, DefinitionError, UnknownApproval, UnknownChat
from messaging.api import (
    ConfigurationError,
    EnvelopeError,
    MailboxFull,
    NameTaken,
    NexusError,
    NotAuthorized,
    SendError,
    TerminalError,
    TransientError,
    UnknownWorkflow,
    WorkflowBlocked,
    WorkflowClosed,
    WorkflowLimit,
)
from messaging.operating import (
    EnvelopeTooLarge,
    LabelsLoosened,
    LeaseLost,
    MayNotSignFor,
    NotExternal,
    ReplayError,
    request_id,
)

logger = logging.getLogger("nexus.api")

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER = 5
"""Seconds."""
MAX_ERRORS = 20

STATUS_OF_ERROR: tuple[tuple[type[NexusError], int], ...] = (
    (EnvelopeTooLarge, 413),
    (EnvelopeError, 422),
    (UnknownWorkflow, 404),
    (UnknownChat, 404),
    (UnknownApproval, 404),
    (NotExternal, 404),
    (ApprovalClosed, 409),
    (WorkflowClosed, 409),
    (WorkflowLimit, 409),
    (WorkflowBlocked, 409),
    (ReplayError, 409),
    (LeaseLost, 409),
    (TransientError, 503),
    (TerminalError, 422),
    (MailboxFull, 429),
    (NotAuthorized, 403),
    (MayNotSignFor, 403),
    (SendError, 422),
    (DefinitionError, 422),
    (NameTaken, 422),
    (LabelsLoosened, 403),
    (ConfigurationError, 422),
    (ChatError, 409),
)


class ApiProblem(NexusError):
    """A request that is refused by the API itself.

    Args:
        status: the HTTP status.
        code: the last part of the problem's ``type``, such as ``"insufficient-scope"``.
        detail: what is wrong and what is expected.
        retry_after: seconds to wait before it is tried again; None where waiting does not help.
        headers: further ones of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        self.headers = dict(headers or {})


def not_found(kind: str, identifier: object) -> ApiProblem:
    """What is not there, and what the caller may not see, are answered alike."""
    return ApiProblem(404, f"unknown-{kind.replace(' ', '-')}", f"There is no {kind} {identifier}.")


def answer_problem(
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    retry_after: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """A problem as a response. The arguments are those of ``ApiProblem``; ``errors`` has an item for each bad value."""
    body: dict[str, Any] = {
        "type": f"urn:nexus:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": request_id(),
    }
    if errors is not None:
        body["errors"] = errors
    response = HttpResponse(json.dumps(body), content_type=CONTENT_TYPE, status=status, headers=dict(headers or {}))
    if retry_after is None and status in (429, 503):
        retry_after = RETRY_AFTER
    if retry_after is not None:
        response["Retry-After"] = str(max(1, round(retry_after)))
    return response


def _code_of(error: NexusError) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()


def answer_error(error: Exception, path: str) -> HttpResponse:
    """The response for whatever was raised while a request was answered.

    Args:
        error: what was raised.
        path: of the request, for the log.
    """
    if isinstance(error, ApiProblem):
        return answer_problem(
            error.status, error.code, str(error), retry_after=error.retry_after, headers=error.headers
        )
    if isinstance(error, NexusError):
        for kind, status in STATUS_OF_ERROR:
            if isinstance(error, kind):
                return answer_problem(status, _code_of(error), str(error))
    if isinstance(error, RequestDataTooBig):
        return answer_problem(413, "body-too-large", "The body is larger than this site takes.")
    if isinstance(error, UnreadablePostError):
        return answer_problem(400, "body-unreadable", "The body ended early.")
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("%s failed: the database is out of reach.", path, exc_info=error)
        return answer_problem(
            503, "database-unavailable", "The database is out of reach; nothing was stored. Try again."
        )
    logger.error("%s failed.", path, exc_info=error)
    return answer_problem(500, "internal-error", "A defect of the server: its log says more under the request id.")


def _validation(error: ValidationError) -> HttpResponse:
    errors = [
        {"place": ".".join(str(part) for part in one["loc"]), "problem": str(one["msg"])}
        for one in error.errors[:MAX_ERRORS]
    ]
    return answer_problem(422, "invalid-values", f"{errors[0]['place']}: {errors[0]['problem']}", errors=errors)


def _http_error(error: HttpError) -> HttpResponse:
    if isinstance(error, AuthenticationError):
        return answer_problem(
            401,
            "not-authenticated",
            "Send a token (Authorization: Bearer …), or log in at /admin/login/ and send the session's cookie.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    detail = str(error.__cause__) if isinstance(error.__cause__, EnvelopeError) else str(error)
    return answer_problem(error.status_code, "malformed-body", detail)


def install(api: NinjaAPI) -> None:
    """Have an API answer every error as a problem."""

    def on_error(request: HttpRequest, error: Any) -> HttpResponse:
        return answer_error(error, request.path)

    api.add_exception_handler(Exception, on_error)
    api.add_exception_handler(
        Http404, lambda request, error: answer_problem(404, "not-found", f"There is nothing at {request.path}.")
    )
    api.add_exception_handler(ValidationError, lambda request, error: _validation(error))  # type: ignore[arg-type]
    api.add_exception_handler(HttpError, lambda request, error: _http_error(error))  # type: ignore[arg-type]
