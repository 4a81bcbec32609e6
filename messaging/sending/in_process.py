"""The in-process backend of the legacy mode: no database, no broker, nothing survives the process.

Messages are handled one after another in the order in which they were sent, in the thread of the outermost ``send``.
They pass the sending gate of the durable backend.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from messaging.conf import get_settings
from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import NameTaken, ReplyTimeout, TerminalError, UnknownAgent, UnknownGroup, UnknownWorkflow
from messaging.core.ids import delivery_id, uuid7
from messaging.core.labels import NO_LABELS, Labels
from messaging.core.messages import Outgoing, SentMessage, WorkflowOptions
from messaging.core.once import MemoryResults
from messaging.core.registry import AgentRegistry, AgentSpec, HandlerKind, registry
from messaging.core.returned import warn_of_returned
from messaging.directory.names import Recipient
from messaging.log import WorkflowRow
from messaging.models import OPEN_STATUSES, WorkflowStatus
from messaging.security.access.deciding import decider_in_memory
from messaging.security.access.policy import Policy
from messaging.security.labels.deciding import NOTHING_LOWERED, objection
from messaging.security.labels.handling import handling, outgoing_of
from messaging.security.schemas.current import CurrentSchemas
from messaging.security.schemas.reading import read_for
from messaging.sending.memory import Accepted, MemoryWorkflow, accept, expired, read_accepted


class InProcessBackend:
    """Handles messages in memory, at once.

    Args:
        policy: who may send what to whom; everything is allowed without one. The policy in the database is not asked.

    Raises:
        AccessPolicyError: the policy cannot work.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self._own = AgentRegistry()
        self.schemas = CurrentSchemas(
            self._specs, lambda: (self._own.models_changed, registry.models_changed), stored=False
        )
        self.decider = None if policy is None else decider_in_memory(policy)
        self._external: set[str] = set()
        self._groups: dict[str, list[str]] = {}
        self._workflows: dict[UUID, MemoryWorkflow] = {}
        self._waiting: deque[tuple[str, int, Accepted]] = deque()
        self._replies: dict[UUID, Envelope] = {}
        self._draining = False
        self._timers: dict[UUID, tuple[datetime, Outgoing]] = {}
        self._results = MemoryResults()
        self._labels: dict[UUID, Labels] = {}
        self._remembered: dict[tuple[UUID, str], Labels] = {}
        self._states: dict[tuple[UUID, str], dict[str, Any]] = {}

    # --- workflows ---

    def start_workflow(self, options: WorkflowOptions) -> UUID:
        if options.deduplication_id is not None:
            for identifier, workflow in self._workflows.items():
                if workflow.deduplication_id == options.deduplication_id:
                    return identifier
        identifier = uuid7()
        self._workflows[identifier] = MemoryWorkflow(
            WorkflowRow(
                identifier,
                WorkflowStatus.RUNNING.value,
                0,
                options.max_messages,
                options.failure_policy or get_settings().failure_policy,
                None if options.deadline is None else timezone.now() + timedelta(seconds=options.deadline),
            ),
            options.deduplication_id,
        )
        return identifier

    def pause_workflow(self, workflow_id: UUID, reason: str) -> None:
        self._workflow(workflow_id).change(WorkflowStatus.PAUSED, (WorkflowStatus.RUNNING,))

    def resume_workflow(self, workflow_id: UUID) -> None:
        self._workflow(workflow_id).change(WorkflowStatus.RUNNING, (WorkflowStatus.PAUSED,))
        self._drain()

    def cancel_workflow(self, workflow_id: UUID, reason: str) -> None:
        self._workflow(workflow_id).change(WorkflowStatus.CANCELLED, (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED))

    def complete_workflow(self, workflow_id: UUID) -> None:
        self._workflow(workflow_id).change(WorkflowStatus.COMPLETED, (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED))

    def workflow_status(self, workflow_id: UUID) -> str:
        return self._workflow(workflow_id).row.status

    def _workflow(self, workflow_id: UUID) -> MemoryWorkflow:
        try:
            return self._workflows[workflow_id]
        except KeyError:
            raise UnknownWorkflow(
                f"There is no workflow {workflow_id}. Start one first (bus.start_workflow)."
            ) from None

    # --- names ---

    def register_agent(self, spec: AgentSpec) -> None:
        self._check_no_group(spec.name)
        self._own.register(spec)

    def register_external(self, name: str, description: str) -> None:
        self._check_no_group(name)
        self._external.add(name)

    def knows_own(self, agent: str) -> bool:
        """Whether it was registered here, and not for the whole process."""
        return self._own.get(agent) is not None

    def unknown_names(self, names: Iterable[str]) -> list[str]:
        known = self._external | self._groups.keys()
        return sorted(name for name in set(names) if name not in known and self._find(name) is None)

    def _check_no_group(self, name: str) -> None:
        if name in self._groups:
            raise NameTaken(f"{name!r} is a group's name already. Agents and groups share their names; choose another.")

    def create_group(self, name: str) -> None:
        if self._find(name) is not None or name in self._external:
            raise NameTaken(
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

    def _specs(self) -> list[AgentSpec]:
        return list({spec.name: spec for spec in [*registry, *self._own]}.values())

    def _find(self, agent: str) -> AgentSpec | None:
        return self._own.get(agent) or registry.get(agent)

    def resolve(self, name: str, *, sender: str) -> list[Recipient]:
        """See ``messaging.gate.draft.Ground``."""
        if self._find(name) is not None or name in self._external:
            return [self._recipient(name)]
        if name in self._groups:
            members = sorted(member for member in self._groups[name] if member != sender)
            return [self._recipient(member) for member in members]
        known = {*self._external, *self._groups, *(spec.name for spec in self._own)}
        raise UnknownAgent(
            f"No agent or group is named {name!r}.{registry.suggest(name, known)} "
            "Register the agent (bus.register_agent) or create the group first."
        )

    def agent(self, name: str) -> AgentSpec | None:
        """See ``messaging.gate.draft.Ground``."""
        return self._find(name)

    def labels_of(self, message_ids: Collection[UUID]) -> Mapping[UUID, Labels]:
        """See ``messaging.gate.draft.Ground``."""
        return {key: self._labels[key] for key in message_ids if key in self._labels}

    def state_labels(self, workflow_id: UUID, agent: str) -> Labels:
        return self._remembered.get((workflow_id, agent), NO_LABELS)

    def _recipient(self, agent: str) -> Recipient:
        spec = self._find(agent)
        return Recipient(agent, None if spec is None else spec.kind)

    # --- sending and handling ---

    def send(self, outgoing: Sequence[Outgoing]) -> list[SentMessage]:
        receipts = self._take(accept(outgoing, self._workflows, self))
        self._drain()
        return receipts

    def cancel_timer(self, timer_id: UUID) -> bool:
        message = self._timers.pop(timer_id, None)
        if message is not None and message[1].deduplication_id is not None:
            first = (message[1].source, message[1].deduplication_id)
            self._workflow(message[1].workflow_id).first.pop(first, None)
        return message is not None

    def send_due_timers(self) -> int:
        sent = self._take_due()
        self._drain()
        return sent

    def _take_due(self) -> int:
        """Send what is due, in the order of its times. What belongs to a workflow that ended is forgotten."""
        now, sent = timezone.now(), 0
        for key, (due_at, message) in sorted(self._timers.items(), key=lambda item: (item[1][0], item[0])):
            row = self._workflow(message.workflow_id).row
            if row.status not in OPEN_STATUSES:
                self.cancel_timer(key)
            elif due_at <= now and self.cancel_timer(key):
                self._take(accept([message], self._workflows, self))
                sent += 1
        return sent

    def wait_for_reply(self, request: UUID, timeout: float) -> Envelope:
        reply = self._replies.pop(request, None)
        if reply is None:
            raise ReplyTimeout(
                f"Message {request} was handled and nobody replied. The recipient must call context.reply()."
            )
        return reply

    def health_check(self) -> dict[str, object]:
        return {"ok": True, "broker": {"ok": True, "detail": "in-process, no broker", "latency": 0.0}}

    def close(self) -> None:
        self._waiting.clear()

    def _take(self, accepted: Sequence[Accepted]) -> list[SentMessage]:
        for one in accepted:
            if one.receipt.duplicate:
                continue
            if one.later is not None and one.receipt.due_at is not None:
                self._timers[one.receipt.id] = (one.receipt.due_at, one.later)
                continue
            if one.labels:
                self._labels[one.receipt.id] = one.labels
            for number, recipient in enumerate(one.recipients, 1):
                if recipient.kind is None:
                    self._workflow(one.receipt.workflow_id).count_processed(recipient.agent)
                else:
                    self._waiting.append((recipient.agent, number, one))
            if one.correlation_id is not None:
                self._replies.setdefault(one.correlation_id, read_accepted(one))
        return [one.receipt for one in accepted]

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        held = []
        try:
            while self._waiting or self._take_due():
                member, number, accepted = self._waiting.popleft()
                workflow = self._workflow(accepted.receipt.workflow_id)
                if workflow.row.status == WorkflowStatus.PAUSED:
                    held.append((member, number, accepted))
                    continue
                workflow.count_processed(member)
                if workflow.runs_at(timezone.now()):
                    self._handle(member, number, accepted)
        finally:
            self._draining = False
            self._waiting.extendleft(reversed(held))

    def _handle(self, member: str, number: int, accepted: Accepted) -> None:
        spec = self._find(member)
        envelope = read_accepted(accepted)  # each recipient gets its own: one may change what it was given
        if spec is None or expired(envelope, timezone.now()):
            return
        spec.check_takes(envelope)
        message = read_for(spec, envelope, self.schemas.checker().registry)
        key = (envelope.workflow_id, member)
        remembered = self.state_labels(*key)
        refused = objection(spec, accepted.labels, remembered, NOTHING_LOWERED)
        if refused is not None:
            raise TerminalError(f"{refused.text}. Here nobody can endorse it: send what is accepted, or an extraction.")
        context = HandlerContext(
            message=message,
            agent=member,
            delivery_id=delivery_id(envelope.message_id, number),
            deadline=self._deadline(envelope, spec),
            results=self._results if spec.kind is HandlerKind.LEASED else None,
            labels=remembered | accepted.labels,
            load_state=lambda: copy.deepcopy(self._states.get(key, {})),
        )
        with handling(context):
            result = spec.handler(message, context)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        warn_of_returned(member, result)
        changed = context.changed_state()
        # A handler that ends its workflow may still say its last word, as in the durable bus.
        self._take(accept(outgoing_of(context), self._workflows, self, last_word=True))
        if context.labels:
            self._remembered[key] = context.labels
        if changed is not None:
            self._states[key] = changed

    def _deadline(self, envelope: Envelope, spec: AgentSpec) -> datetime | None:
        ends = [self._workflow(envelope.workflow_id).row.deadline_at, envelope.expirytime]
        if spec.timeout is not None:
            ends.append(timezone.now() + timedelta(seconds=spec.timeout))
        return min((end for end in ends if end is not None), default=None)
