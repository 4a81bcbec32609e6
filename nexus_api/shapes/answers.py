"""What callers are answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field


class ValueProblem(Schema):
    """A value that cannot be."""

    place: str
    problem: str


class ProblemOut(Schema):
    """An error (RFC 9457)."""

    type: str = Field(description="urn:nexus:problem:… tells kinds of errors apart, and stays.")
    title: str
    status: int
    detail: str = Field(description="What happened and what to do, for people.")
    request_id: str = Field(description="Leads to it in the server's log.")
    errors: list[ValueProblem] | None = None


class ReceiptOut(Schema):
    """What was started or sent."""

    workflow: UUID
    message: UUID | None = None
    sequence: int | None = None


class WorkflowOut(Schema):
    """A workflow in a list."""

    id: UUID
    name: str
    status: Literal["running", "paused", "parked", "completed", "cancelled", "expired"]
    status_reason: str
    sequence: int = Field(description="Number of the last message sent in it.")
    created_at: datetime
    ended_at: datetime | None


class MailboxOut(Schema):
    """How far an agent has come in a workflow."""

    agent: str
    sent: int
    processed: int


class ChatOut(Schema):
    """The chat that a workflow is."""

    team: str
    status: str
    reason: str
    entries: int


class WorkflowDetailOut(WorkflowOut):
    """A workflow by itself."""

    open_dead_letters: int
    mailboxes: list[MailboxOut]
    chat: ChatOut | None


class WorkflowPage(Schema):
    """A page of workflows, the newest first."""

    items: list[WorkflowOut]
    next: str | None = Field(description="The cursor of the next page.")


class MessageOut(Schema):
    """A message of the log."""

    id: UUID
    workflow: UUID
    sequence: int
    type: str
    sender: str
    recipient: str
    data: Any = None
    correlation_id: UUID | None
    created_at: datetime


class DeliveryOut(Schema):
    """A message's way to one agent."""

    agent: str
    state: str
    attempts: int


class MessageDetailOut(MessageOut):
    """A message by itself."""

    deliveries: list[DeliveryOut]


class TranscriptPage(Schema):
    """Messages in their order."""

    items: list[MessageOut]
    next: int | None = Field(description="Give it as after for the next page.")


class ApprovalOut(Schema):
    """Something that waits for a person."""

    id: UUID
    workflow: UUID
    purpose: Literal["approval", "input", "speaker"]
    member: str
    question: str
    content: str
    options: list[Any]
    status: Literal["waiting", "approved", "rejected", "withdrawn"]
    answer: str
    answered_by: str
    deadline_at: datetime | None
    created_at: datetime


class ApprovalPage(Schema):
    """A page of approvals, the oldest first."""

    items: list[ApprovalOut]
    next: str | None


class DeadLetterOut(Schema):
    """A message that will not be handled without a decision."""

    id: int
    workflow: UUID | None
    agent: str
    message_type: str
    reason: str
    error: str
    place: str
    copies: int
    status: Literal["open", "replayed", "discarded"]
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str
    resolution: str = Field(description="Why it was discarded.")


class DeadLetterDetailOut(DeadLetterOut):
    """A dead letter by itself."""

    detail: str
    body: str = Field(description="The raw bytes as text, cut after 64 KiB; what is no text shows as U+FFFD.")


class DeadLetterPage(Schema):
    """A page of dead letters, the newest first."""

    items: list[DeadLetterOut]
    next: str | None


class AgentOut(Schema):
    """An agent."""

    name: str
    kind: Literal["transactional", "leased", "external"] | None = Field(
        description="None: a program without a handler."
    )
    description: str
    paused: bool
    paused_reason: str
    registered_at: datetime


class AgentPage(Schema):
    """A page of agents by name."""

    items: list[AgentOut]
    next: str | None


class ResumedOut(Schema):
    """An agent that goes on."""

    released: int = Field(description="Deliveries that waited for it at the head of their mailboxes.")


class HealthOut(Schema):
    """The health report."""

    model_config = ConfigDict(extra="allow")

    status: str
