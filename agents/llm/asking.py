"""Asking a model: the one place, so that every question is a span of its trace."""

from __future__ import annotations

from collections.abc import Sequence

from agents.llm.types import ChatMessage, Completion, ModelClient, OnText, ToolSpec
from messaging.extension import trace_names as names
from messaging.extension import tracing


async def ask_model(
    client: ModelClient,
    messages: Sequence[ChatMessage],
    *,
    tools: Sequence[ToolSpec] = (),
    on_text: OnText | None = None,
) -> Completion:
    """``client.complete`` within a span that says which model answered and what it consumed, and no word of it.

    Raises:
        ModelError, CircuitOpen: the model gave no answer.
    """
    if not tracing.is_on():
        return await client.complete(messages, tools=tools, on_text=on_text)
    asked = getattr(client, "client", client)
    model = str(getattr(asked, "model", ""))
    attributes = {
        names.GEN_AI_OPERATION: "chat",
        names.GEN_AI_PROVIDER: type(asked).__name__.removesuffix("Client").lower(),
        names.GEN_AI_REQUEST_MODEL: model,
    }
    with tracing.within(f"chat {model}".strip(), "client", attributes) as span:
        answer = await client.complete(messages, tools=tools, on_text=on_text)
        span.note(
            {
                names.GEN_AI_RESPONSE_MODEL: answer.model,
                names.GEN_AI_INPUT_TOKENS: answer.usage.input_tokens,
                names.GEN_AI_OUTPUT_TOKENS: answer.usage.output_tokens,
                names.GEN_AI_FINISH_REASONS: [answer.finish_reason],
            }
        )
        return answer
