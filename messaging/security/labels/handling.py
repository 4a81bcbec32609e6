"""What a handler sends inherits the labels of what it handles, by whichever way it sends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from uuid import UUID

from messaging.core.context import HandlerContext
from messaging.core.labels import Labels
from messaging.core.message_spans import processing
from messaging.core.messages import Outgoing

_handled: ContextVar[tuple[Labels, UUID] | None] = ContextVar("nexus_labels_handled", default=None)


@contextmanager
def handling(context: HandlerContext) -> Iterator[None]:
    """Remember what is handled within, for what its handler sends through a bus."""
    token = _handled.set((context.labels, context.message.message_id) if context.labels else None)
    try:
        with processing(context):
            yield
    finally:
        _handled.reset(token)


def inheriting(outgoing: Sequence[Outgoing]) -> Sequence[Outgoing]:
    """What a bus was asked to send, with the labels and the id of the message that is handled here."""
    handled = _handled.get()
    if handled is None:
        return outgoing
    labels, cause = handled
    return [
        replace(message, inherited=labels, causation_id=message.causation_id or cause)
        if message.inherited is None
        else message
        for message in outgoing
    ]


def outgoing_of(context: HandlerContext) -> list[Outgoing]:
    """What a handler sent through its context; what it put there by itself inherits too."""
    return [
        replace(message, inherited=context.labels) if message.inherited is None else message
        for message in context.outgoing
    ]
