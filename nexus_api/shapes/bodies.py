"""What callers send. Bodies are taken as they are: no text becomes a number, no further field is let in."""

from __future__ import annotations

from typing import Annotated, Any

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
