"""What is said to a model and what it answers. Every value is plain JSON, so it can be kept in ``context.state``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


class ToolRequest(msgspec.Struct, frozen=True):
    """A model asks for a tool to be called.

    Args:
        id: the model's name for the call.
        name: the tool's name.
        arguments: JSON as the model wrote it, which may be no JSON at all.
    """

    id: str
    name: str
    arguments: str


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation with a model.

    Args:
        role: who says it.
        content: the text.
        name: of the speaker, where there are several users.
        tool_calls: tools that the assistant wants called.
        tool_call_id: the call that a message of the role ``tool`` answers.
    """

    role: Role
    content: str = ""
    name: str | None = None
    tool_calls: tuple[ToolRequest, ...] = ()
    tool_call_id: str | None = None


class TokenUsage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens consumed.

    Args:
        input_tokens: read by the model.
        output_tokens: written by it.
        estimated: the server did not count, so four characters were taken for one token.

    >>> TokenUsage(1_000_000, 500_000).cost(2.0, 8.0)
    6.0
    """

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.estimated or other.estimated,
        )

    def cost(self, input_price: float, output_price: float) -> float:
        """The price of these tokens; prices are for a million tokens."""
        return (self.input_tokens * input_price + self.output_tokens * output_price) / 1_000_000


class ToolSpec(msgspec.Struct, frozen=True):
    """What a model is told about a tool.

    Args:
        name: of the tool.
        description: when and how to use it.
        parameters: JSON Schema of its arguments.
    """

    name: str
    description: str
    parameters: dict[str, Any]


class Completion(msgspec.Struct, frozen=True):
    """A model's answer.

    Args:
        message: what it said or wants called.
        usage: what it consumed.
        finish_reason: ``stop``, ``tool_calls``, ``length``, ``content_filter`` or what else the server says.
        model: which model answered.
    """

    message: ChatMessage
    usage: TokenUsage = TokenUsage()
    finish_reason: str = "stop"
    model: str = ""


OnText = Callable[[str], None]
"""Called with the text so far while it is written. After a cut it begins anew with a shorter text."""


@runtime_checkable
class ModelClient(Protocol):
    """Asks a model. Implementations may be used from several event loops and threads at once."""

    async def complete(
        self, messages: Sequence[ChatMessage], *, tools: Sequence[ToolSpec] = (), on_text: OnText | None = None
    ) -> Completion:
        """Answer a conversation.

        Args:
            messages: the conversation so far.
            tools: what the model may call.
            on_text: called while the answer is written; makes the client stream.

        Raises:
            ModelError: see ``agents.llm.errors``.
            CircuitOpen: the model keeps failing and is left alone for a while.
        """


def estimate(messages: Sequence[ChatMessage], answer: ChatMessage) -> TokenUsage:
    """Roughly how many tokens a completion took, for servers that do not say."""
    read = sum(len(message.content) for message in messages)
    written = len(answer.content) + sum(len(call.name) + len(call.arguments) for call in answer.tool_calls)
    return TokenUsage(read // 4 + 1, written // 4 + 1, estimated=True)
