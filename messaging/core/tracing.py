"""Where traces begin and go on. Nothing is traced until a tracer is installed; until then each place costs one ``if``.

A trace goes from process to process in the envelope's ``traceparent``, which is signed with the rest. No span ever
holds a message's data, nor the words of an error: its class only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol

Value = str | int | float | bool | Sequence[str]
Attributes = Mapping[str, Value]
Kind = Literal["internal", "server", "client", "producer", "consumer"]


class Span(Protocol):
    """Something that takes time."""

    @property
    def traceparent(self) -> str:
        """It, as others name it (W3C Trace Context)."""

    @property
    def recording(self) -> bool:
        """Whether anybody will see it."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""

    def end(self) -> None:
        """It is over."""


class Tracer(Protocol):
    """Makes spans."""

    def current(self) -> str | None:
        """The traceparent of the span that this is within."""

    def start(self, name: str, kind: Kind, attributes: Attributes, parent: str | None, links: Sequence[str]) -> Span:
        """Begin a span.

        Args:
            name: of few different ones.
            kind: as OpenTelemetry has them.
            attributes: named as in ``trace_names``.
            parent: traceparent; None for the current span, or else a new trace.
            links: traceparents of others that led to it.
        """

    def within(
        self, name: str, kind: Kind, attributes: Attributes, parent: str | None, links: Sequence[str]
    ) -> AbstractContextManager[Span]:
        """The same, current for as long as the block lasts; it ends with it, and an error's class is noted."""

    def passing(self, parent: str) -> AbstractContextManager[object]:
        """Within the block the trace is one that is not recorded."""

    def flush(self, timeout: float) -> None:
        """Hand over what has ended, within ``timeout`` seconds."""


class UnrecordedSpan:
    """What is begun while nothing is traced, or in a trace that is not recorded.

    Args:
        traceparent: what is sent on; empty for nothing.
    """

    __slots__ = ("traceparent",)
    recording = False

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent

    def note(self, attributes: Attributes) -> None: ...

    def end(self) -> None: ...

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *raised: object) -> None: ...


_nothing = UnrecordedSpan()
_tracer: Tracer | None = None


def install(tracer: Tracer | None) -> None:
    """Trace with a tracer from now on; None: no more."""
    global _tracer
    _tracer = tracer


def is_on() -> bool:
    """Whether there is a tracer."""
    return _tracer is not None


def current() -> str | None:
    """The traceparent of the span that this is within; None without one."""
    return None if _tracer is None else _tracer.current()


def is_sampled(traceparent: str | None) -> bool:
    """Whether its sender recorded it."""
    return traceparent is not None and traceparent[-1] in "13579bdf"


def start(
    name: str, kind: Kind, attributes: Attributes, *, parent: str | None = None, links: Sequence[str] = ()
) -> Span:
    """Begin a span (see ``Tracer``); end it."""
    return _nothing if _tracer is None else _tracer.start(name, kind, attributes, parent, links)


def within(
    name: str, kind: Kind, attributes: Attributes, *, parent: str | None = None, links: Sequence[str] = ()
) -> AbstractContextManager[Span]:
    """A span around a block (see ``Tracer``)."""
    return _nothing if _tracer is None else _tracer.within(name, kind, attributes, parent, links)


def passing(parent: str) -> AbstractContextManager[object]:
    """A block in a trace that is not recorded (see ``Tracer``)."""
    return _nothing if _tracer is None else _tracer.passing(parent)


def flush(timeout: float) -> None:
    """Hand over what has ended, before a process ends."""
    if _tracer is not None:
        _tracer.flush(timeout)
