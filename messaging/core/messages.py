"""What is asked of a bus, and its receipt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from messaging.core.arguments import (
    as_uuid,
    check_choice,
    check_count,
    check_instances,
    check_moment,
    check_seconds,
    check_text,
)
from messaging.core.errors import EnvelopeError, LabelError
from messaging.core.extraction import Extraction
from messaging.core.labels import Labels, as_labels
from messaging.core.names import check_agent_name, check_type_name

FAILURE_POLICIES = ("park", "skip")
GAP_POLICIES = ("park", "skip", "resend")
IDLE_POLICIES = ("park", "cancel", "complete")
MIN_IDLE_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOptions:
    """What a workflow is started with.

    Args:
        name: for people.
        max_messages: most messages that may be sent in it, or None for the settings' limit.
        deadline: seconds after which it expires, or None.
        failure_policy: ``"park"`` or ``"skip"``; None for the settings' own.
        gap_policy: ``"park"``, ``"skip"`` or ``"resend"``; None for the settings' own.
        idle_timeout: seconds without a message after which ``idle_policy`` is followed, 1 at least; None for never.
            The relay looks, so it may be a second later; in-process, where nothing waits, it has no effect.
        idle_policy: ``"park"``, which is None too, ``"cancel"`` or ``"complete"``.
        deduplication_id: starting again with the same one returns the first workflow.

    Raises:
        EnvelopeError: one of them cannot be; names it and says what is expected.
    """

    name: str
    max_messages: int | None = None
    deadline: float | None = None
    failure_policy: str | None = None
    gap_policy: str | None = None
    idle_timeout: float | None = None
    idle_policy: str | None = None
    deduplication_id: str | None = None

    def __post_init__(self) -> None:
        check_text("name", self.name)
        check_count("max_messages", self.max_messages)
        check_seconds("deadline", self.deadline)
        check_choice("failure_policy", self.failure_policy, FAILURE_POLICIES)
        check_choice("gap_policy", self.gap_policy, GAP_POLICIES)
        check_seconds("idle_timeout", self.idle_timeout)
        if self.idle_timeout is not None and self.idle_timeout < MIN_IDLE_TIMEOUT:
            raise EnvelopeError("idle_timeout", f"expected {MIN_IDLE_TIMEOUT:g} s or more, got {self.idle_timeout:g}")
        check_choice("idle_policy", self.idle_policy, IDLE_POLICIES)
        if self.deduplication_id is not None:
            check_text("deduplication_id", self.deduplication_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that is to be sent, before it has a number.

    Args:
        workflow_id: the workflow it belongs to.
        source: sender, an agent's name.
        recipient: an agent's or a group's name.
        type: message type, such as ``"audit.file"``.
        data: any JSON value.
        correlation_id: the request that this replies to.
        causation_id: the message whose handling sends this one.
        deduplication_id: a repeated send with the same one in the same workflow and from the same sender is the first
            message.
        expires_in: seconds after which it is not handled any more, or None; they count from when it is due.
        delay: seconds until it is sent. It is numbered then, so that nothing that is sent meanwhile waits for it.
        at: when it is sent, in place of ``delay``; an aware datetime.
        labels: what the sender says of its content: ``Labels``, or their text such as ``"origin:web"``. It is joined
            with what is known otherwise, so nothing can be left out by saying less.
        extraction: of which its data are; they make the message trusted.
        inherited: labels of what caused it; set by the handler's context. None: the message ``causation_id`` says.

    Raises:
        EnvelopeError: one of them cannot be; names it and says what is expected.
        LabelError: labels are written wrongly, or the data are not what the extraction allows.
    """

    workflow_id: UUID
    source: str
    recipient: str
    type: str
    data: Any
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    deduplication_id: str | None = None
    expires_in: float | None = None
    delay: float | None = None
    at: datetime | None = None
    labels: Labels | str | None = None
    extraction: Extraction | None = None
    inherited: Labels | None = None

    def __post_init__(self) -> None:
        if type(self.workflow_id) is not UUID:
            object.__setattr__(self, "workflow_id", as_uuid("workflow", self.workflow_id))
        check_agent_name(self.source, "source")
        check_agent_name(self.recipient, "subject")
        check_type_name(self.type)
        for attribute in ("correlation_id", "causation_id"):
            value = getattr(self, attribute)
            if value is not None and type(value) is not UUID:
                object.__setattr__(self, attribute, as_uuid(attribute, value))
        if self.deduplication_id is not None:
            check_text("deduplication_id", self.deduplication_id)
        check_seconds("expires_in", self.expires_in)
        check_seconds("delay", self.delay)
        check_moment("at", self.at)
        if self.delay is not None and self.at is not None:
            raise EnvelopeError("delay", "expected either delay or at, got both")
        if self.labels is not None:
            object.__setattr__(self, "labels", as_labels(self.labels))
        if self.extraction is not None:
            check_instances("extraction", [self.extraction], Extraction)
            if self.is_timer:
                raise LabelError("An extraction is sent at once, not with a delay. Send the timer without it.")

    @property
    def is_timer(self) -> bool:
        """Whether it is sent later."""
        return self.at is not None or bool(self.delay)

    def due_at(self, now: datetime) -> datetime:
        """When it is to be sent, seen from the present time."""
        return self.at if self.at is not None else now + timedelta(seconds=self.delay or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """The receipt of a send.

    Args:
        id: the message's id.
        workflow_id: its workflow.
        sequence: its number in the workflow: 1, 2, 3, …
        duplicate: True when its ``deduplication_id`` was used before; id and sequence are then the first message's.
        due_at: when it is sent, for a message with a delay; ``id`` is the timer's then (see ``cancel_timer``), and
            ``sequence`` 0.
    """

    id: UUID
    workflow_id: UUID
    sequence: int
    duplicate: bool = False
    due_at: datetime | None = None
