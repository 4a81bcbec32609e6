"""The in-process backend of the legacy mode: no database, no broker, nothing survives the process.

Messages are handled one after another in the order in which they were sent, in the thread of the outermost ``send``.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope, build_envelope, parse_envelope
from messaging.core.errors import (
    NexusError,
    ReplyTimeout,
    UnknownAgent,
    UnknownGroup,
    UnknownWorkflow,
    WorkflowClosed,
    WorkflowLimit,
)
from messaging.core.ids import delivery_id, new_message_id, uuid7
from messaging.core.messages import Outgoing, SentMessage, WorkflowOptions
from messaging.core.once import MemoryResults
from messaging.core.registry import AgentRegistry, AgentSpec, HandlerKind, registry

MAX_BYTES = 262_144


class _Workflow:
    def __init__(self, options: WorkflowOptions) -> None:
        self.options = options
        self.status = "running"
        self.sequence = 0
        self.sent: dict[str, int] = {}
        self.first: dict[tuple[str, str], SentMessage] = {}


class InProcessBackend:
    """Handles messages in memory, at once."""

    def __init__(self) -> None:
        self._own = AgentRegistry()
        self._external: set[str] = set()
        self._groups: dict[str, list[str]] = {}
        self._workflows: dict[UUID, _Workflow] = {}
        self._waiting: deque[tuple[str, int, Envelope]] = deque()
        self._replies: dict[UUID, Envelope] = {}
        self._draining = False
        self._results = MemoryResults()
        self._states: dict[tuple[UUID, str], dict[str, Any]] = {}

    def start_workflow(self, options: WorkflowOptions) -> UUID:
        if options.deduplication_id is not None:
            for identifier, workflow in self._workflows.items():
                if workflow.options.deduplication_id == options.deduplication_id:
                    return identifier
        identifier = uuid7()
        self._workflows[identifier] = _Workflow(options)
        return identifier

    def register_agent(self, spec: AgentSpec) -> None:
        self._check_no_group(spec.name)
        self._own.register(spec)

    def register_external(self, name: str, description: str) -> None:
        self._check_no_group(name)
        self._external.add(name)

    def unknown_names(self, names: Iterable[str]) -> list[str]:
        known = self._external | self._groups.keys()
        return sorted(name for name in set(names) if name not in known and self._find(name) is None)

    def _check_no_group(self, name: str) -> None:
        if name in self._groups:
            raise UnknownAgent(
                f"{name!r} is a group's name already. Agents and groups share their names; choose another."
            )

    def create_group(self, name: str) -> None:
        if self._find(name) is not None or name in self._external:
            raise UnknownGroup(
                f"{name!r} is an agent's name already. Agents and groups share their names; choose another."
            )
        self._groups.setdefault(name, [])

    def add_member(self, group: str, agent: str) -> None:
        if group not in self._groups:
            raise UnknownGroup(f"No group is named {group!r}. Create it first (bus.create_group).")
        if self._find(agent) is None and agent not in self._external:
            raise UnknownAgent(f"No agent is named {agent!r}. Register it first (bus.register_agent).")
        if agent not in self._groups[group]:
            self._groups[group].append(agent)

    def remove_member(self, group: str, agent: str) -> None:
        if agent in self._groups.get(group, ()):
            self._groups[group].remove(agent)

    def send(self, outgoing: Sequence[Outgoing]) -> list[SentMessage]:
        receipts = self._accept_all(outgoing)
        self._drain()
        return receipts

    def wait_for_reply(self, request: UUID, timeout: float) -> Envelope:
        reply = self._replies.pop(request, None)
        if reply is None:
            raise ReplyTimeout(
                f"Message {request} was handled and nobody replied. The recipient must call context.reply()."
            )
        return reply

    def pause_workflow(self, workflow_id: UUID, reason: str) -> None:
        self._set_status(workflow_id, "paused", ("running",))

    def resume_workflow(self, workflow_id: UUID) -> None:
        self._set_status(workflow_id, "running", ("paused",))
        self._drain()

    def cancel_workflow(self, workflow_id: UUID, reason: str) -> None:
        self._set_status(workflow_id, "cancelled", ("running", "paused"))

    def complete_workflow(self, workflow_id: UUID) -> None:
        self._set_status(workflow_id, "completed", ("running", "paused"))

    def health_check(self) -> dict[str, object]:
        return {"ok": True, "broker": {"ok": True, "detail": "in-process, no broker", "latency": 0.0}}

    def close(self) -> None:
        self._waiting.clear()

    def _find(self, agent: str) -> AgentSpec | None:
        return self._own.get(agent) or registry.get(agent)

    def _workflow(self, workflow_id: UUID) -> _Workflow:
        try:
            return self._workflows[workflow_id]
        except KeyError:
            raise UnknownWorkflow(
                f"There is no workflow {workflow_id}. Start one first (bus.start_workflow)."
            ) from None

    def _members(self, name: str, sender: str) -> list[str]:
        if self._find(name) is not None or name in self._external:
            return [name]
        if name in self._groups:
            return sorted(member for member in self._groups[name] if member != sender)
        raise UnknownAgent(f"No agent or group is named {name!r}. Register the agent (bus.register_agent) first.")

    def _set_status(self, workflow_id: UUID, status: str, allowed: tuple[str, ...]) -> None:
        workflow = self._workflow(workflow_id)
        if workflow.status != status and workflow.status not in allowed:
            raise WorkflowClosed(f"Workflow {workflow_id} is {workflow.status} and cannot become {status}.")
        workflow.status = status

    def _accept_all(self, outgoing: Sequence[Outgoing], *, from_handler: bool = False) -> list[SentMessage]:
        """Take all of them or, where one is refused, none."""
        workflows = self._workflows_of(outgoing)
        counters = [(workflow.sequence, dict(workflow.sent), len(workflow.first)) for workflow in workflows]
        waiting, replies = len(self._waiting), len(self._replies)
        try:
            return [self._accept(message, from_handler) for message in outgoing]
        except NexusError:
            # What came in stands at the end.
            for workflow, (sequence, sent, known) in zip(workflows, counters, strict=True):
                workflow.sequence, workflow.sent = sequence, sent
                while len(workflow.first) > known:
                    workflow.first.popitem()
            while len(self._waiting) > waiting:
                self._waiting.pop()
            while len(self._replies) > replies:
                self._replies.popitem()
            raise

    def _workflows_of(self, outgoing: Sequence[Outgoing]) -> list[_Workflow]:
        names = {message.workflow_id for message in outgoing}
        return [self._workflows[name] for name in names if name in self._workflows]

    def _accept(self, message: Outgoing, from_handler: bool) -> SentMessage:
        workflow = self._workflow(message.workflow_id)
        key = (message.source, message.deduplication_id or "")
        if message.deduplication_id is not None and key in workflow.first:
            first = workflow.first[key]
            return SentMessage(id=first.id, workflow_id=first.workflow_id, sequence=first.sequence, duplicate=True)
        # A handler that ends its workflow may still say its last word, as in the durable bus.
        if workflow.status in ("cancelled", "completed") and not from_handler:
            raise WorkflowClosed(f"Workflow {message.workflow_id} is {workflow.status} and takes no more messages.")
        if workflow.options.max_messages is not None and workflow.sequence >= workflow.options.max_messages:
            raise WorkflowLimit(f"Workflow {message.workflow_id} may have {workflow.options.max_messages} messages.")
        members = self._members(message.recipient, message.source)
        for member in members:
            workflow.sent[member] = workflow.sent.get(member, 0) + 1
        direct = members == [message.recipient]
        identifier = new_message_id()
        now = datetime.now(UTC)
        body = build_envelope(
            message_id=identifier,
            workflow_id=message.workflow_id,
            source=message.source,
            recipient=message.recipient,
            type=message.type,
            data=message.data,
            sequence=workflow.sequence + 1,
            position=workflow.sent[message.recipient] if direct else None,
            time=now,
            causation_id=message.causation_id,
            correlation_id=message.correlation_id,
            expiry_time=None if message.expires_in is None else now + timedelta(seconds=message.expires_in),
            max_bytes=MAX_BYTES,
        )
        workflow.sequence += 1
        # Parsed again, so that a handler gets the same plain data here as it would from another process.
        envelope = parse_envelope(body, max_bytes=MAX_BYTES)
        for number, member in enumerate(members, 1):
            if self._find(member) is not None:
                self._waiting.append((member, number, envelope))
        if message.correlation_id is not None:
            self._replies.setdefault(message.correlation_id, envelope)
        receipt = SentMessage(id=identifier, workflow_id=message.workflow_id, sequence=workflow.sequence)
        if message.deduplication_id is not None:
            workflow.first[key] = receipt
        return receipt

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        held = []
        try:
            while self._waiting:
                member, number, envelope = self._waiting.popleft()
                status = self._workflow(envelope.workflow_id).status
                if status == "paused":
                    held.append((member, number, envelope))
                elif status == "running":
                    self._handle(member, number, envelope)
        finally:
            self._draining = False
            self._waiting.extendleft(reversed(held))

    def _handle(self, member: str, number: int, envelope: Envelope) -> None:
        spec = self._find(member)
        if spec is None:
            return
        spec.check_takes(envelope)
        key = (envelope.workflow_id, member)
        context = HandlerContext(
            message=envelope,
            agent=member,
            delivery_id=delivery_id(envelope.message_id, number),
            results=self._results if spec.kind is HandlerKind.LEASED else None,
            load_state=lambda: copy.deepcopy(self._states.get(key, {})),
        )
        result = spec.handler(envelope, context)
        if inspect.iscoroutine(result):
            asyncio.run(result)
        changed = context.changed_state()
        self._accept_all(context.outgoing, from_handler=True)
        if changed is not None:
            self._states[key] = changed
