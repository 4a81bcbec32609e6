"""What programs and the server say to each other of leased messages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field

from nexus_api.shapes.answers import MessageOut
from nexus_api.shapes.bodies import MAX_TEXT, AgentName, RequestBody, ShortText

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
