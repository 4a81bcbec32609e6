"""Calling one agent's handler with one message, without the log, a bus or a database."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from messaging.api import AgentSpec, ConfigurationError, Envelope, HandlerContext, HandlerKind, Outgoing, registry
from messaging.conf import get_settings
from messaging.core.envelope import build_envelope, parse_envelope
from messaging.core.ids import delivery_id, new_message_id, uuid7
from messaging.core.labels import NO_LABELS, as_labels
from messaging.core.once import MemoryResults
from messaging.security.labels.stored import labels_from
from messaging.security.schemas.current import schemas_without_database
from messaging.security.schemas.loading import load_registry
from messaging.security.schemas.reading import read_for
from messaging.security.schemas.uri import uri_of
from messaging.security.schemas.validation import SchemaCandidate, SchemaChecker
from messaging.testing.calling import call_handler
from messaging.testing.matching import ANYTHING, Pattern, refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a handler did with a message.

    Args:
        message: what it got.
        context: what it got beside it.
        result: what it returned; in earnest nobody reads that.
        sent: what it sent, in order.
    """

    message: Envelope
    context: HandlerContext
    result: Any
    sent: list[Envelope]

    @property
    def state(self) -> dict[str, Any]:
        """The agent's state afterwards."""
        return self.context.state

    def assert_sent(
        self,
        *,
        type: str | None = None,
        recipient: str | None = None,
        data: Any = ANYTHING,
        times: int | None = None,
    ) -> Envelope:
        """Make sure that the handler sent a message; return the first such. See ``messaging.testing.assert_sent``."""
        return require(self.sent, Pattern(type=type, recipient=recipient, data=data), times)

    def assert_nothing_sent(
        self, *, type: str | None = None, recipient: str | None = None, data: Any = ANYTHING
    ) -> None:
        """Make sure that the handler sent no message, or none that is like this."""
        refuse(self.sent, Pattern(type=type, recipient=recipient, data=data))


def deliver(
    agent: str | AgentSpec,
    message: Envelope | str,
    data: Any = None,
    *,
    sender: str = "test",
    workflow: UUID | None = None,
    state: dict[str, Any] | None = None,
    attempt: int = 1,
) -> Delivered:
    """Call an agent's handler and record what it sends. Nothing is stored, and what it raises comes out here.

    Args:
        agent: its name, or how it would be registered.
        message: a message, or the type of one that is made here.
        data: of that message: any JSON value.
        sender: of that message.
        workflow: of that message; a new id when left out.
        state: what the agent remembers; nothing when left out.
        attempt: which attempt the handler is told this is.

    Raises:
        ConfigurationError: no agent has that name, or ``data`` stands beside a whole message.
        TerminalError: the agent does not accept such a message, or leaves a state that cannot be stored.
        EnvelopeError: the message, or one that the handler sent, is none.
        SchemaViolation: the data of the message, or of one that the handler sent, do not follow their schema. Those in
            the database are not asked.
    """
    spec = registry.require(agent) if isinstance(agent, str) else agent
    checker = _schemas_with(spec)
    if isinstance(message, str):
        message = _envelope(
            Outgoing(workflow_id=workflow or uuid7(), source=sender, recipient=spec.name, type=message, data=data),
            1,
            checker,
        )
    elif data is not None:
        raise ConfigurationError("deliver() got a whole message and data. Leave data out, or give the message's type.")
    spec.check_takes(message)
    handed = read_for(spec, message, checker.registry)
    context = HandlerContext(
        message=handed,
        agent=spec.name,
        delivery_id=delivery_id(message.message_id, 1),
        attempt=attempt,
        deadline=None if spec.timeout is None else datetime.now(UTC) + timedelta(seconds=spec.timeout),
        labels=labels_from(message.labels),
        results=MemoryResults() if spec.kind is HandlerKind.LEASED else None,
        load_state=lambda: copy.deepcopy(state or {}),
    )
    result = call_handler(spec, context)
    context.changed_state()
    first = message.sequence_number + 1
    sent = [_envelope(outgoing, sequence, checker) for sequence, outgoing in enumerate(context.outgoing, first)]
    return Delivered(message=handed, context=context, result=result, sent=sent)


def _schemas_with(spec: AgentSpec) -> SchemaChecker:
    """The schemas of files and agents; the agent at hand may be registered nowhere."""
    known = registry.get(spec.name)
    if known is spec or not spec.models:
        return schemas_without_database.checker()
    return SchemaChecker(load_registry([*(one for one in registry if one is not known), spec], stored=False))


def _envelope(outgoing: Outgoing, sequence: int, checker: SchemaChecker) -> Envelope:
    """A message as its recipient would see it."""
    now = datetime.now(UTC)
    (verdict,) = checker.check([SchemaCandidate(outgoing.type, None, outgoing.data)])
    if verdict.violation is not None:
        raise verdict.violation
    labels = as_labels(outgoing.labels) | (outgoing.inherited or NO_LABELS)
    limit = get_settings().max_message_bytes
    body = build_envelope(
        message_id=new_message_id(),
        workflow_id=outgoing.workflow_id,
        source=outgoing.source,
        recipient=outgoing.recipient,
        type=outgoing.type,
        data=outgoing.data,
        sequence=sequence,
        time=now,
        causation_id=outgoing.causation_id,
        correlation_id=outgoing.correlation_id,
        labels=str(labels) if labels else None,
        data_schema=None if verdict.schema is None else uri_of(verdict.schema.key),
        expiry_time=None if outgoing.expires_in is None else now + timedelta(seconds=outgoing.expires_in),
        max_bytes=limit,
    )
    return parse_envelope(body, max_bytes=limit)
