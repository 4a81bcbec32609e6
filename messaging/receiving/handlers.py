"""Calling an agent's handler: find it, check what it accepts, make its context."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from messaging import log
from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import UnknownAgent
from messaging.core.registry import AgentSpec, registry
from messaging.receiving.event_loop import database_threads
from messaging.receiving.ordering import Ready
from messaging.security.schemas.current import installed_schemas
from messaging.security.schemas.reading import read_for
from messaging.security.verification.viewing import cleaned_envelope


class StoredResults:
    """Results of ``context.once`` in the database, written by a few threads with connections of their own."""

    durable = True

    def find(self, delivery_id: UUID, key: str) -> Future[bytes | None]:
        return database_threads.submit(lambda: log.find_result(delivery_id, key))

    def save(self, delivery_id: UUID, key: str, result: bytes) -> Future[bytes]:
        return database_threads.submit(lambda: log.save_result(delivery_id, key, result))


def find_handler(agent: str, envelope: Envelope) -> AgentSpec:
    """The agent that is to handle a message.

    Raises:
        UnknownAgent: this process does not have it; another one may.
        TerminalError: it does not accept messages of this type.
    """
    spec = registry.get(agent)
    if spec is None:
        raise UnknownAgent(
            f"This worker has no agent {agent!r}. Register it in <app>.nexus_agents, or in a module of NEXUS_AGENTS."
        )
    spec.check_takes(envelope)
    return spec


def make_context(
    spec: AgentSpec,
    ready: Ready,
    now: datetime,
    *,
    load_state: Callable[[], dict[str, Any]],
    results: StoredResults | None,
) -> HandlerContext:
    """The context of a handler that is about to be called, with the message as the handler gets it.

    Raises:
        UnreadableData: the message cannot be made what the agent takes.
    """
    original = ready.passage.envelope
    shown = cleaned_envelope(original, ready.row.agent, ready.passage.unclean) if ready.passage.unclean else original
    envelope = read_for(spec, shown, installed_schemas.checker().registry)
    ends = [ready.workflow_deadline, envelope.expirytime]
    if spec.timeout is not None:
        ends.append(now + timedelta(seconds=spec.timeout))
    return HandlerContext(
        message=envelope,
        original=original if ready.passage.unclean else None,
        agent=spec.name,
        delivery_id=ready.row.id,
        attempt=ready.row.attempts + 1,
        deadline=min((end for end in ends if end is not None), default=None),
        labels=ready.passage.remembered | ready.passage.labels,
        load_state=load_state,
        results=results,
    )
