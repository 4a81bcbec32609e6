"""The durable backend: every message goes to the log first."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic
from uuid import UUID

from django.db import connection, transaction

from messaging import log
from messaging.conf import get_settings
from messaging.core.envelope import Envelope, parse_envelope
from messaging.core.errors import ReplyTimeout
from messaging.core.labels import Labels
from messaging.core.message_spans import handled_here
from messaging.core.messages import Outgoing, SentMessage, WorkflowOptions
from messaging.core.registry import AgentSpec, registry
from messaging.directory import names as directory
from messaging.gate.sending import prepare
from messaging.log.healing import LOST
from messaging.models import Message
from messaging.security.access.holding import holding_policy
from messaging.security.encryption.payloads import open_data
from messaging.security.labels.stored import remembered_by
from messaging.security.signatures.uses import flush_when_due
from messaging.sending import later, outbox, sending_due
from messaging.sending.alone import send_alone
from messaging.transport.background import background_publisher
from messaging.transport.current import get_broker
from messaging.workflows import life_cycle as workflows
from messaging.workflows.noticing import note_send
from messaging.workflows.waiting import ReplyWait

FIRST_POLL = 0.005
MAX_POLL = 0.1
CLOSE_TIMEOUT = 2.0


def _after_commit(deliveries: Sequence[log.StoredDelivery]) -> None:
    background_publisher().offer(deliveries)
    flush_when_due()


class DurableBackend:
    """Sends through the log and publishes after the commit."""

    def __init__(self) -> None:
        prepare()

    def start_workflow(self, options: WorkflowOptions) -> UUID:
        return workflows.start(options)

    def register_agent(self, spec: AgentSpec) -> None:
        directory.refuse_name_of_group(spec.name)
        registry.register(spec)
        directory.save_agent(spec.name, spec.kind, spec.description)

    def register_external(self, name: str, description: str) -> None:
        directory.refuse_name_of_group(name)
        directory.save_agent(name, None, description)

    def unknown_names(self, names: Iterable[str]) -> list[str]:
        wanted = {name for name in names if registry.get(name) is None}
        return sorted(wanted - directory.known_names()) if wanted else []

    def create_group(self, name: str) -> None:
        directory.create_group(name)

    def add_member(self, group: str, agent: str) -> None:
        directory.add_member(group, agent)

    def remove_member(self, group: str, agent: str) -> None:
        directory.remove_member(group, agent)

    def send(self, outgoing: Sequence[Outgoing]) -> list[SentMessage]:
        if not outgoing:
            return []
        alone = send_alone(outgoing)
        if alone is not None:
            if alone.deliveries:
                _after_commit(alone.deliveries)
            return alone.receipts
        with transaction.atomic(), holding_policy():
            stored = outbox.send(outgoing)
            note_send({message.workflow_id for message in outgoing})
            if stored.deliveries:
                transaction.on_commit(lambda: _after_commit(stored.deliveries))
        return stored.receipts

    def state_labels(self, workflow_id: UUID, agent: str) -> Labels:
        return remembered_by(workflow_id, agent)

    def cancel_timer(self, timer_id: UUID) -> bool:
        return later.cancel(timer_id)

    def send_due_timers(self) -> int:
        return sending_due.send_due_timers()

    def wait_for_reply(self, request: UUID, timeout: float) -> Envelope:
        if connection.in_atomic_block:
            raise RuntimeError(
                "request() waits for another process, which cannot see this transaction before it commits. "
                "Call it outside transaction.atomic(), or use send() and handle the reply as a message. In a test: "
                "send(), then messaging.testing.drain()."
            )
        wait = ReplyWait(handled_here(), request)
        try:
            return self._poll_reply(request, timeout, wait)
        finally:
            with suppress(*LOST):
                wait.end()

    def _poll_reply(self, request: UUID, timeout: float, wait: ReplyWait) -> Envelope:
        deadline = monotonic() + timeout
        pause = FIRST_POLL
        waiter = threading.Event()
        problem: Exception | None = None
        while True:
            try:
                reply, problem = _find_reply(request), None
                if reply is None:
                    wait.look()
            except LOST as error:  # the database restarts, perhaps: what waits goes on when it is back
                reply, problem = None, error
                connection.close()
            if reply is not None:
                return open_data(parse_envelope(reply, max_bytes=get_settings().max_message_bytes))
            remaining = deadline - monotonic()
            if remaining <= 0:
                raise ReplyTimeout(
                    f"No reply to message {request} within {timeout:g} s. It stays in the log and is still handled; "
                    "is a worker running that knows the recipient?"
                    if problem is None
                    else f"No reply to message {request} could be read within {timeout:g} s: the database fails "
                    f"({str(problem).strip()})."
                ) from problem
            waiter.wait(min(pause, remaining))
            pause = min(MAX_POLL, pause * 1.5)

    def pause_workflow(self, workflow_id: UUID, reason: str) -> None:
        workflows.pause(workflow_id, reason)

    def resume_workflow(self, workflow_id: UUID) -> None:
        workflows.resume(workflow_id)

    def cancel_workflow(self, workflow_id: UUID, reason: str) -> None:
        workflows.cancel(workflow_id, reason)

    def complete_workflow(self, workflow_id: UUID) -> None:
        workflows.complete(workflow_id)

    def workflow_status(self, workflow_id: UUID) -> str:
        return workflows.status_of(workflow_id)

    def health_check(self) -> dict[str, object]:
        broker = get_broker().health_check()
        return {"ok": broker.ok, "broker": {"ok": broker.ok, "detail": broker.detail, "latency": broker.latency}}

    def close(self) -> None:
        # Other buses of this process publish through the same thread: it goes on.
        background_publisher().flush(CLOSE_TIMEOUT)


def _find_reply(request: UUID) -> bytes | None:
    found = Message.objects.filter(correlation_id=request).order_by("sequence").values_list("envelope", flat=True)
    reply = found.first()
    return None if reply is None else bytes(reply)
