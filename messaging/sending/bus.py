"""The buses: one API, two backends.

``CommunicationBus`` handles messages in this process, at once, and forgets them. ``ReliableCommunicationBus`` stores
them in the log and has workers handle them; with ``legacy_mode=True`` it is a ``CommunicationBus`` and opens no
connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from messaging.core.arguments import as_uuid, check_instances, check_note, check_seconds
from messaging.core.backoff import RetryPolicy
from messaging.core.envelope import Envelope
from messaging.core.errors import EnvelopeError
from messaging.core.labels import LabelPolicy, Labels
from messaging.core.messages import Outgoing, SentMessage, WorkflowOptions
from messaging.core.names import check_agent_name
from messaging.core.registry import AgentSpec, Handler, HandlerKind
from messaging.security.labels.handling import inheriting
from messaging.sending.backend import BusBackend
from messaging.sending.in_process import InProcessBackend


class CommunicationBus:
    """Lets agents talk to each other, in this process.

    Args:
        backend: what it stands on; in-process by default.
    """

    def __init__(self, backend: BusBackend | None = None) -> None:
        self._backend = backend or InProcessBackend()

    @property
    def durable(self) -> bool:
        """Whether it stands on the log; an in-process one opens no connection."""
        return not isinstance(self._backend, InProcessBackend)

    def knows_own(self, agent: str) -> bool:
        """Whether an agent was registered on this very in-process bus; False for a durable one."""
        return isinstance(self._backend, InProcessBackend) and self._backend.knows_own(agent)

    def start_workflow(
        self,
        name: str,
        *,
        max_messages: int | None = None,
        deadline: float | None = None,
        failure_policy: str | None = None,
        gap_policy: str | None = None,
        idle_timeout: float | None = None,
        idle_policy: str | None = None,
        deduplication_id: str | None = None,
    ) -> UUID:
        """Start a conversation or job and return its id. The arguments are those of ``WorkflowOptions``."""
        return self._backend.start_workflow(
            WorkflowOptions(
                name=name,
                max_messages=max_messages,
                deadline=deadline,
                failure_policy=failure_policy,
                gap_policy=gap_policy,
                idle_timeout=idle_timeout,
                idle_policy=idle_policy,
                deduplication_id=deduplication_id,
            )
        )

    def register_agent(
        self,
        name: str,
        handler: Handler | None = None,
        *,
        kind: HandlerKind = HandlerKind.TRANSACTIONAL,
        retry: RetryPolicy | None = None,
        description: str = "",
        origin: str = "",
        private: Iterable[str] = (),
        reads_untrusted: bool = False,
        sees_private: bool = False,
        changes_outside: bool = False,
        accepts_labels: LabelPolicy | None = None,
    ) -> None:
        """Make an agent known.

        Args:
            name: unique among agents and groups.
            handler: called with (message, context) in the process that handles; None for a program that only sends and
                reads replies with ``request``.
            kind: transactional (quick, database only) or leased (slow, or calling out).
            retry: its retry policy, or None for the settings' own.
            description: for operators.
            origin, private, reads_untrusted, sees_private, changes_outside, accepts_labels: see ``AgentSpec``; only
                with a handler. For a program that only sends, say it in ``NEXUS["LABELS"]``.

        Raises:
            NameTaken: another agent or a group has the name.
            ConfigurationError: the handler cannot be called as it will be.
            EnvelopeError: of an agent without a handler: it cannot have that name or description.
        """
        if handler is None:
            check_agent_name(name)
            description = check_note("description", description)
            self._backend.register_external(name, description)
        else:
            self._backend.register_agent(
                AgentSpec(
                    name=name,
                    handler=handler,
                    kind=kind,
                    retry=retry,
                    description=description,
                    origin=origin,
                    private=private if isinstance(private, str) else tuple(private),  # type: ignore[arg-type]
                    reads_untrusted=reads_untrusted,
                    sees_private=sees_private,
                    changes_outside=changes_outside,
                    accepts_labels=accepts_labels,
                )
            )

    def unknown_names(self, names: Iterable[str]) -> list[str]:
        """Which of these names are neither an agent's nor a group's, sorted. Messages to them would be refused."""
        names = [names] if isinstance(names, str) else list(names)
        check_instances("names", names, str)
        return self._backend.unknown_names(names)

    def create_group(self, name: str, members: Iterable[str] = ()) -> None:
        """Create a group unless it exists, and add members.

        Raises:
            NameTaken: an agent has the name.
            UnknownAgent: no agent is named like a member.
            EnvelopeError: it is no name.
        """
        check_agent_name(name, "group")
        members = [members] if isinstance(members, str) else list(members)
        for member in members:
            check_agent_name(member, "member")
        self._backend.create_group(name)
        for member in members:
            self._backend.add_member(name, member)

    def add_member(self, group: str, agent: str) -> None:
        """Add an agent to a group.

        Raises:
            UnknownGroup, UnknownAgent: there is none of that name.
            EnvelopeError: it is no name.
        """
        check_agent_name(group, "group")
        check_agent_name(agent, "member")
        self._backend.add_member(group, agent)

    def remove_member(self, group: str, agent: str) -> None:
        """Take an agent out of a group."""
        check_agent_name(group, "group")
        check_agent_name(agent, "member")
        self._backend.remove_member(group, agent)

    def send(
        self,
        workflow: UUID,
        recipient: str,
        type: str,
        data: Any = None,
        *,
        sender: str,
        correlation_id: UUID | None = None,
        deduplication_id: str | None = None,
        expires_in: float | None = None,
        delay: float | None = None,
        at: datetime | None = None,
        labels: Labels | str | None = None,
    ) -> SentMessage:
        """Send a message and do not wait for its handling.

        The durable bus joins the caller's transaction: rolled back, nothing was sent. It never waits for the broker.

        Args:
            workflow: id of the workflow.
            recipient: an agent, or a group, of which every member except the sender gets it.
            type: message type, such as ``"audit.file"``.
            data: any JSON value.
            sender: name of the sending agent or program.
            correlation_id: the request that this replies to.
            deduplication_id: sending again with the same one (in the workflow, by the sender) returns the first
                message.
            expires_in: seconds after which it is not handled any more.
            delay: seconds until it is sent; until then it can be cancelled (``cancel_timer``), and it ends with its
                workflow. It is numbered when it is due, so that nothing that is sent meanwhile waits for it.
            at: when it is sent, in place of ``delay``; an aware datetime.
            labels: where its content comes from and whose secrets it may hold: ``Labels``, or their text such as
                ``"origin:web private:customers"``. Within a handler those of what is handled are joined to them.

        Raises:
            SendError: unknown recipient or workflow, a closed workflow, a full mailbox or a limit.
            EnvelopeError: a name or the data is no valid part of an envelope.
        """
        return self.send_many(
            [
                Outgoing(
                    workflow_id=workflow,
                    source=sender,
                    recipient=recipient,
                    type=type,
                    data=data,
                    correlation_id=correlation_id,
                    deduplication_id=deduplication_id,
                    expires_in=expires_in,
                    delay=delay,
                    at=at,
                    labels=labels,
                )
            ]
        )[0]

    def send_to_group(self, workflow: UUID, group: str, type: str, data: Any = None, *, sender: str) -> SentMessage:
        """Send one message to every member of a group except the sender. See ``send``."""
        return self.send(workflow, group, type, data, sender=sender)

    def send_many(self, messages: Sequence[Outgoing]) -> list[SentMessage]:
        """Send many messages at once: all of them or none. Much quicker than one by one. See ``send``."""
        check_instances("messages", messages, Outgoing)
        return self._backend.send(inheriting(messages))

    def state_labels(self, workflow: UUID, agent: str) -> Labels:
        """The labels of everything that an agent handled in a workflow: what is made of its state bears them."""
        return self._backend.state_labels(as_uuid("workflow", workflow), agent)

    def cancel_timer(self, timer: UUID) -> bool:
        """Cancel a message that was sent with a delay.

        Args:
            timer: the ``id`` of its receipt.

        Returns:
            False when it is not there any more: sent, cancelled, or its workflow ended.
        """
        return self._backend.cancel_timer(timer)

    def send_due_timers(self) -> int:
        """Send what has become due; return how many messages.

        The relay does it for the durable bus. In legacy mode every ``send`` does it too; a program that waits for a
        delay there calls this.
        """
        return self._backend.send_due_timers()

    def request(
        self, workflow: UUID, recipient: str, type: str, data: Any = None, *, sender: str, timeout: float = 30.0
    ) -> Envelope:
        """Send a message and wait for its reply (``context.reply``).

        Args:
            workflow, recipient, type, data, sender: as for ``send``; the sender must be registered without a handler.
            timeout: seconds to wait.

        Returns:
            The reply's envelope.

        Raises:
            ReplyTimeout: none came in time; the request is still handled.
        """
        if timeout is None:
            raise EnvelopeError("timeout", "expected a number of seconds, got null: a wait has an end")
        check_seconds("timeout", timeout)
        sent = self.send(workflow, recipient, type, data, sender=sender)
        return self._backend.wait_for_reply(sent.id, timeout)

    def wait_for_reply(self, message: UUID, timeout: float) -> Envelope:
        """Wait for the reply to a message that was sent before, perhaps by another process.

        Args:
            message: its id.
            timeout: seconds to wait.

        Raises:
            ReplyTimeout: none came in time.
        """
        check_seconds("timeout", timeout)
        return self._backend.wait_for_reply(as_uuid("message", message), timeout)

    def pause_workflow(self, workflow: UUID, reason: str = "") -> None:
        """Hold everything in a workflow that is not handled yet."""
        self._backend.pause_workflow(as_uuid("workflow", workflow), check_note("reason", reason))

    def resume_workflow(self, workflow: UUID) -> None:
        """Let a paused or parked workflow go on, in order.

        Raises:
            WorkflowBlocked: its dead letters have to be replayed or discarded first; then it goes on by itself.
        """
        self._backend.resume_workflow(as_uuid("workflow", workflow))

    def cancel_workflow(self, workflow: UUID, reason: str = "") -> None:
        """End a workflow; nothing more is handled in it."""
        self._backend.cancel_workflow(as_uuid("workflow", workflow), check_note("reason", reason))

    def complete_workflow(self, workflow: UUID) -> None:
        """End a workflow that reached its goal."""
        self._backend.complete_workflow(as_uuid("workflow", workflow))

    def workflow_status(self, workflow: UUID) -> str:
        """How a workflow stands: running, paused, parked, completed, cancelled or expired.

        Raises:
            UnknownWorkflow: there is none with that id, or it ended and was removed from the log.
        """
        return self._backend.workflow_status(as_uuid("workflow", workflow))

    def health_check(self) -> dict[str, object]:
        """``{"ok": …, "broker": {"ok": …, "detail": …, "latency": seconds}}``. Never raises."""
        return self._backend.health_check()

    def close(self) -> None:
        """Publish what is left, within two seconds. This bus and the others of the process may still be used."""
        self._backend.close()
