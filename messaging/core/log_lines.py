"""Log lines that nobody can forge: what texts of others hold stays within its line."""

from __future__ import annotations

import logging
from types import TracebackType

from messaging.core.describing import visible

_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class OneLineFormatter(logging.Formatter):
    """Writes each record in one line, and its traceback in lines that begin with a bar. Control characters, marks that
    turn the direction of writing, and line breaks within the message become escapes that can be seen.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record's line."""
        return _one_line(super().formatMessage(record))

    def formatException(self, ei: _Raised) -> str:  # noqa: N802 - logging's name
        """The traceback's lines."""
        return _barred(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """The stack's lines."""
        return _barred(super().formatStack(stack_info))


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    shown = visible(text).replace("\n", "\\n")
    return shown.translate({0x2028: "\\u2028", 0x2029: "\\u2029"})


def _barred(text: str) -> str:
    return "\n".join(f"  | {_one_line(line)}" for line in text.split("\n"))
