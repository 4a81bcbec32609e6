"""Errors as A2A 1.0 has them over JSON-RPC (its sections 5.4 and 9.5).

What HTTP itself has a status for (no token, no right, too many, out of reach) has that status and is no protocol error:
its code is ``HTTP_REFUSED``.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError

from agents.api import DefinitionError
from messaging.api import NexusError
from nexus_api.problems import RETRY_AFTER, STATUS_OF_ERROR, ApiProblem

logger = logging.getLogger("nexus.a2a")

DOMAIN = "a2a-protocol.org"


class ErrorKind(NamedTuple):
    """A kind of error: its JSON-RPC code and the reason that programs read."""

    code: int
    reason: str


NO_JSON = ErrorKind(-32700, "PARSE_ERROR")
INVALID_REQUEST = ErrorKind(-32600, "INVALID_REQUEST")
NO_METHOD = ErrorKind(-32601, "METHOD_NOT_FOUND")
INVALID_PARAMS = ErrorKind(-32602, "INVALID_PARAMS")
INTERNAL = ErrorKind(-32603, "INTERNAL_ERROR")
HTTP_REFUSED = ErrorKind(-32000, "REFUSED")
NO_TASK = ErrorKind(-32001, "TASK_NOT_FOUND")
NOT_CANCELABLE = ErrorKind(-32002, "TASK_NOT_CANCELABLE")
NO_PUSH = ErrorKind(-32003, "PUSH_NOTIFICATION_NOT_SUPPORTED")
UNSUPPORTED = ErrorKind(-32004, "UNSUPPORTED_OPERATION")
CONTENT_TYPE = ErrorKind(-32005, "CONTENT_TYPE_NOT_SUPPORTED")
VERSION = ErrorKind(-32009, "VERSION_NOT_SUPPORTED")

REASONS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


class A2AProblem(NexusError):
    """A request that is refused.

    Args:
        kind: see above.
        detail: what is wrong, and what is expected.
        status: of HTTP.
        retry_after: seconds to wait, or None.
        headers: further ones of the answer.
    """

    def __init__(
        self,
        kind: ErrorKind,
        detail: str,
        *,
        status: int = 200,
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.status = status
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after)))

    def data(self) -> dict[str, Any]:
        """The error object."""
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": self.kind.reason, "domain": DOMAIN}
        return {"code": self.kind.code, "message": str(self), "data": [info]}


def no_task(task_id: str) -> A2AProblem:
    """What is not there, and what the caller may not see, are answered alike."""
    return A2AProblem(NO_TASK, f"There is no task {task_id[:100]}.")


def problem_of(error: Exception, method: str) -> A2AProblem:
    """What is answered to whatever was raised.

    Args:
        error: what was raised.
        method: for the log.
    """
    if isinstance(error, A2AProblem):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("%s failed: the database is out of reach.", method, exc_info=error)
        return _refused(503, "The database is out of reach; nothing was stored. Try again.", RETRY_AFTER)
    if isinstance(error, ApiProblem):
        if error.status in REASONS:
            return _refused(error.status, str(error), error.retry_after, error.headers)
        return A2AProblem(NO_TASK if error.status == 404 else INVALID_PARAMS, str(error))
    if isinstance(error, NexusError) and not isinstance(error, DefinitionError):
        status = next((status for kind, status in STATUS_OF_ERROR if isinstance(error, kind)), 500)
        if status in REASONS:
            return _refused(status, str(error), RETRY_AFTER if status != 403 else None)
        kinds = {404: NO_TASK, 409: UNSUPPORTED, 413: INVALID_PARAMS, 422: INVALID_PARAMS}
        if status in kinds:
            return A2AProblem(kinds[status], str(error))
    logger.error("%s failed.", method, exc_info=error)
    return A2AProblem(INTERNAL, "A defect of the server: its log says more under the request id.")


def _refused(
    status: int, detail: str, retry_after: float | None = None, headers: dict[str, str] | None = None
) -> A2AProblem:
    kind = ErrorKind(HTTP_REFUSED.code, REASONS[status])
    return A2AProblem(kind, detail, status=status, retry_after=retry_after, headers=headers)
