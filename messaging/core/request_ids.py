"""The id of the HTTP request that is being answered, for log lines and error messages."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import uuid4

ATTRIBUTE = "nexus_request_id"
"""Of a request that has an id."""

_current: ContextVar[str] = ContextVar("nexus_request_id", default="")
_usable = re.compile(r"[A-Za-z0-9._:-]{1,100}").fullmatch


def request_id() -> str:
    """The id of the request that this thread or task answers; empty outside of one."""
    return _current.get()


@contextmanager
def answering(given: str | None) -> Iterator[str]:
    """Answer a request within.

    Args:
        given: the id that its caller gave it; replaced where it is missing, too long, or has characters that could
            break a log line.

    Yields:
        Its id.
    """
    chosen = given if given is not None and _usable(given) else uuid4().hex
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        _current.reset(token)


def request_id_of(record: logging.LogRecord) -> str:
    """The id of the request that a record belongs to; empty outside of one."""
    # Django itself logs an answer when the request is over: its records bring the request along.
    return request_id() or str(getattr(getattr(record, "request", None), ATTRIBUTE, ""))


class RequestIdFilter(logging.Filter):
    """Gives each record ``request_id``, and ``in_request``: ``"[id] "``, or nothing outside of a request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        current = request_id_of(record)
        record.__dict__.update(request_id=current, in_request=f"[{current}] " if current else "")
        return True
