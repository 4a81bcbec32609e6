"""What goes in and out, as JSON. Bodies are taken as they are: no text becomes a number, no further field is let in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import ConfigDict, Field

MAX_TEXT = 200
MAX_LONG_TEXT = 100_000

ShortText = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
AgentName = Annotated[str, Field(min_length=1, max_length=100)]


class RequestBody(Schema):
    """A body."""

    model_config = ConfigDict(extra="forbid", strict=True)


class MessageIn(RequestBody):
    """A message to send."""

    recipient: AgentName = Field(description="An agent or a group.")
    type: ShortText = Field(description="Such as audit.start.")
    data: Any = Field(None, description="Any JSON value.")
    sender: AgentName | None = Field(None, description="As whom you speak: one of the token's senders, or its first.")


class WorkflowIn(RequestBody):
    """A workflow to start: empty, with a first message, or as a team's chat."""

    name: ShortText = Field(description="For people.")
    message: MessageIn | None = Field(None, description="The first message.")
    team: ShortText | dict[str, Any] | None = Field(
        None, description="The name of a stored team, or a team's definition, whose chat this is to be."
    )
    task: Annotated[str, Field(min_length=1, max_length=MAX_LONG_TEXT)] | None = Field(
        None, description="With a team: what the chat is about."
    )
    max_messages: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(None, description="Without a team.")
    deadline: Annotated[float, Field(gt=0, le=315_360_000)] | None = Field(
        None, description="Without a team: seconds after which it expires."
    )


class ReasonIn(RequestBody):
    """Why, for other operators."""

    reason: Annotated[str, Field(max_length=1_000)] = ""


class DiscardIn(RequestBody):
    """Why a dead letter is given up."""

    reason: Annotated[str, Field(min_length=1, max_length=1_000)]


class ForkIn(RequestBody):
    """Where a chat is forked."""

    after: Annotated[int, Field(ge=1, le=2**31 - 1)] = Field(description="Number of the last entry that is taken over.")
    say: Annotated[str, Field(min_length=1, max_length=MAX_LONG_TEXT)] | None = Field(
        None, description="Something to say first, to let it take another course."
    )


class AnswerIn(RequestBody):
    """The answer to an approval."""

    approved: bool
    text: Annotated[str, Field(max_length=MAX_LONG_TEXT)] = Field(
        "", description="A comment; for an input what you say; for the choice of a speaker its name."
    )


LooseUUID = Annotated[UUID, Field(strict=False)]
OnceResults = Annotated[dict[Annotated[str, Field(min_length=1, max_length=MAX_TEXT)], Any], Field(max_length=100)]
LabelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
LeaseSeconds = Annotated[float, Field(ge=1, le=43_200)]


class AcceptedLabels(RequestBody):
    """What an agent accepts; everything else that bears labels is a dead letter."""

    untrusted: bool = Field(False, description="Whether it is given untrusted content.")
    private: Annotated[list[LabelName], Field(max_length=16)] | None = Field(
        None, description="The private names that it is given; none: all."
    )


class ExternalAgentIn(RequestBody):
    """What a program says of the agent for which it acts."""

    description: Annotated[str, Field(max_length=1_000)] = Field("", description="For operators.")
    accepts: Annotated[list[ShortText], Field(max_length=100)] | None = Field(
        None, description='Message types that it takes, "audit.*" for all that begin so; another one is a dead letter.'
    )
    max_attempts: Annotated[int, Field(ge=1, le=1_000)] | None = Field(
        None, description="Leases of one message before it becomes a dead letter."
    )
    concurrency: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Messages leased at once, by all its programs together."
    )
    rate: Annotated[float, Field(ge=0.001, le=1_000_000)] | None = Field(
        None, description="Messages leased per second, by all its programs together."
    )
    timeout: Annotated[float, Field(ge=1, le=604_800)] | None = Field(
        None, description="Seconds after which a lease ends, however often it is renewed."
    )
    origin: LabelName | None = Field(None, description="All that it sends bears this origin: it is untrusted.")
    private: Annotated[list[LabelName], Field(max_length=16)] = Field(
        default_factory=list, description="Whose secrets it brings in: all that it sends bears these names."
    )
    reads_untrusted: bool = Field(
        False,
        description='It reads untrusted content. All that it sends has the origin "outside", unless it names one.',
    )
    sees_private: bool = Field(False, description="It sees private data.")
    changes_outside: bool = Field(False, description="It changes something outside: pays, writes, publishes.")
    accepts_labels: AcceptedLabels | None = Field(None, description="What it accepts; none: everything.")


class LeaseIn(RequestBody):
    """How much to lease, and for how long."""

    limit: Annotated[int, Field(ge=1, le=50)] = Field(1, description="Messages, each of another workflow.")
    wait: Annotated[float, Field(ge=0, le=25)] = Field(0, description="Seconds to wait for a first one.")
    visibility: LeaseSeconds = Field(30, description="Seconds after which others may have them, unless renewed.")


class RenewalIn(RequestBody):
    """A lease to prolong."""

    token: LooseUUID
    visibility: LeaseSeconds = Field(30, description="Seconds from now.")
    once: OnceResults = Field(
        default_factory=dict, description="Results that the next attempt gets, so that it need not make a call again."
    )


class ReplyIn(RequestBody):
    """An answer to the sender of the leased message."""

    data: Any = None
    type: ShortText | None = Field(None, description="The message's own with .reply behind it by default.")


class SentIn(RequestBody):
    """A message that the agent sends."""

    recipient: AgentName
    type: ShortText
    data: Any = None
    correlation_id: LooseUUID | None = Field(None, description="The request that it answers.")
    deduplication_id: ShortText | None = None
    expires_in: Annotated[float, Field(gt=0, le=315_360_000)] | None = None
    delay: Annotated[float, Field(gt=0, le=315_360_000)] | None = None
    labels: Annotated[str, Field(min_length=1, max_length=1_000)] | None = Field(
        None, description="Beside those that it inherits."
    )


class CompletionIn(RequestBody):
    """What a handler left. It is stored in one transaction, or nothing is."""

    token: LooseUUID
    replies: Annotated[list[ReplyIn], Field(max_length=100)] = Field(default_factory=list)
    sends: Annotated[list[SentIn], Field(max_length=1_000)] = Field(default_factory=list)
    state: dict[str, Any] | None = Field(None, description="What to remember of this workflow; none: as it was.")
    once: OnceResults = Field(default_factory=dict)


class FailureIn(RequestBody):
    """Why a message was not handled."""

    token: LooseUUID
    error: Annotated[str, Field(min_length=1, max_length=10_000)]
    terminal: bool = Field(False, description="Never try it again: a dead letter.")
    retry_after: Annotated[float, Field(ge=0, le=604_800)] | None = Field(
        None, description="Seconds until it is tried again, at least."
    )


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


class ExternalAgentOut(Schema):
    """An agent as it is registered now."""

    name: str
    description: str
    accepts: list[str] | None
    max_attempts: int | None
    concurrency: int | None
    rate: float | None
    timeout: float | None
    origin: str | None
    private: list[str]
    reads_untrusted: bool
    sees_private: bool
    changes_outside: bool
    accepts_labels: AcceptedLabels | None


class LeasedOut(Schema):
    """A message that is leased."""

    delivery: UUID
    token: UUID = Field(description="Fences the lease: give it with renew, complete and fail.")
    expires_at: datetime
    deadline: datetime | None = Field(description="Of the workflow, the message or the agent's timeout.")
    attempt: int = Field(description="1 for the first.")
    labels: str | None
    state: dict[str, Any] = Field(description="What the agent remembers of this workflow.")
    once: dict[str, Any] = Field(description="Results that an earlier attempt kept.")
    message: MessageOut


class LeaseOut(Schema):
    """What was leased; perhaps nothing."""

    messages: list[LeasedOut]


class RenewedOut(Schema):
    """A lease that goes on."""

    expires_at: datetime


class CompletedOut(Schema):
    """What became of a message."""

    outcome: Literal["processed", "cancelled", "dead", "quarantined"] = Field(
        description="Anything but processed: its workflow was ended, or a check stopped it; nothing was stored."
    )


class ResumedOut(Schema):
    """An agent that goes on."""

    released: int = Field(description="Deliveries that waited for it at the head of their mailboxes.")


class HealthOut(Schema):
    """The health report."""

    model_config = ConfigDict(extra="allow")

    status: str
