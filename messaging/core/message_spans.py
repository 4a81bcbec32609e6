"""The spans of a message's way: created, published, received in a batch, processed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from uuid import UUID

from messaging.core import trace_names as names
from messaging.core import tracing
from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.messages import Outgoing
from messaging.core.tracing import Span

_handled: ContextVar[HandlerContext | None] = ContextVar("nexus_handled", default=None)
_ATTRIBUTE = b'"traceparent":"'
_LENGTH = 55
_NOTHING = tracing.UnrecordedSpan()


def handled_here() -> HandlerContext | None:
    """The context of the handler that this is within, for log lines."""
    return _handled.get()


def creating(message: Outgoing, identifier: UUID) -> Span:
    """A message is stored. Its span ends when that is committed; one that is rolled back is never seen.

    Args:
        message: as asked for.
        identifier: of the message.
    """
    if not tracing.is_on():
        return _NOTHING
    if message.trace_parent is not None and not tracing.is_sampled(message.trace_parent):
        return tracing.UnrecordedSpan(message.trace_parent)
    return tracing.start(
        f"create {message.recipient}",
        "producer",
        {
            names.SYSTEM: "nexus",
            names.OPERATION_NAME: "create",
            names.OPERATION_TYPE: "create",
            names.DESTINATION: message.recipient,
            names.MESSAGE_ID: str(identifier),
            names.CONVERSATION_ID: str(message.workflow_id),
            names.MESSAGE_TYPE: message.type,
            names.SENDER: message.source,
        },
        parent=message.trace_parent,
    )


def publishing(bodies: Sequence[tuple[bytes, str]]) -> list[Span]:
    """Messages go to the broker: a span for each that is sampled. End them.

    Args:
        bodies: envelopes, each with the name of its queue.
    """
    spans = []
    for body, queue in bodies:
        traceparent = _traceparent_in(body)
        if tracing.is_sampled(traceparent):
            attributes: tracing.Attributes = {
                names.SYSTEM: "nexus",
                names.OPERATION_NAME: "publish",
                names.OPERATION_TYPE: "send",
                names.DESTINATION: queue,
                names.BATCH_COUNT: len(bodies),
            }
            spans.append(tracing.start(f"publish {queue}", "client", attributes, parent=traceparent))
    return spans


def receiving(envelopes: Sequence[Envelope], queue: str) -> AbstractContextManager[object]:
    """A batch is handled in one transaction: in the trace of its first sampled message, with links to the others.

    Args:
        envelopes: of the batch.
        queue: from which it came.
    """
    if not tracing.is_on():
        return nullcontext()
    sampled = [one.traceparent for one in envelopes if one.traceparent and tracing.is_sampled(one.traceparent)]
    if not sampled:
        return nullcontext()
    attributes: tracing.Attributes = {
        names.SYSTEM: "nexus",
        names.OPERATION_NAME: "receive",
        names.OPERATION_TYPE: "receive",
        names.DESTINATION: queue,
        names.BATCH_COUNT: len(envelopes),
    }
    return tracing.within(f"receive {queue}", "consumer", attributes, parent=sampled[0], links=sampled)


class processing:  # noqa: N801 - used as a function
    """A handler runs: log lines know its message, and it is a span in its message's trace.

    Args:
        context: of the handler.
    """

    __slots__ = ("_context", "_span", "_token")

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._token: Token[HandlerContext | None] | None = None
        self._span: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        self._token = _handled.set(self._context)
        if tracing.is_on():
            self._span = _processing_span(self._context)
            self._span.__enter__()

    def __exit__(self, *raised: object) -> None:
        if self._span is not None:
            self._span.__exit__(*raised)  # type: ignore[arg-type]
        if self._token is not None:
            _handled.reset(self._token)


def _processing_span(context: HandlerContext) -> AbstractContextManager[object]:
    message = context.message
    if message.traceparent is not None and not tracing.is_sampled(message.traceparent):
        return tracing.passing(message.traceparent)
    batch = tracing.current()
    attributes: tracing.Attributes = {
        names.SYSTEM: "nexus",
        names.OPERATION_NAME: "process",
        names.OPERATION_TYPE: "process",
        names.DESTINATION: context.agent,
        names.MESSAGE_ID: str(message.message_id),
        names.CONVERSATION_ID: str(message.workflow_id),
        names.MESSAGE_TYPE: message.type,
        names.SENDER: message.source,
        names.ATTEMPT: context.attempt,
    }
    return tracing.within(
        f"process {context.agent}",
        "consumer",
        attributes,
        parent=message.traceparent,
        links=[batch] if batch and message.traceparent and tracing.is_sampled(batch) else [],
    )


def _traceparent_in(body: bytes) -> str | None:
    """What an envelope that we wrote says: its attributes stand before its data."""
    start = body.find(_ATTRIBUTE, 0, body.find(b'"data":'))
    if start < 0:
        return None
    start += len(_ATTRIBUTE)
    return body[start : start + _LENGTH].decode("ascii", "replace")
