"""A turn: the model answers, its tools are called, it answers again, until it has nothing more to call.

Every answer of the model is kept by ``context.once`` and every tool call by the ledger. So a turn that a crash
interrupted goes on where it was: the model is not asked again what it answered, and no finished tool is called again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from agents.llm.asking import ask_model
from agents.llm.errors import ContextTooLong
from agents.llm.ledger import LedgeredCall, ledgered
from agents.llm.memory import MemoryStrategy, Shortening, Trim
from agents.llm.tools import ModelTool
from agents.llm.types import ChatMessage, Completion, ModelClient, OnText, TokenUsage, ToolRequest
from messaging.api import HandlerContext, TerminalError
from messaging.extension import trace_names as names
from messaging.extension import tracing

UNANSWERED = "This call was never answered. Repeat it if its result is still needed."


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnResult:
    """What a turn came to.

    Args:
        text: the model's last words.
        messages: what the turn added to the conversation, tool calls and their results among it.
        usage: tokens of all its answers.
        calls: names of the tools that were called, in order.
        finish_reason: of the last answer.
    """

    text: str
    messages: tuple[ChatMessage, ...]
    usage: TokenUsage
    calls: tuple[str, ...] = ()
    finish_reason: str = "stop"


async def run_turn(
    context: HandlerContext,
    client: ModelClient,
    messages: Sequence[ChatMessage],
    *,
    tools: Sequence[ModelTool] = (),
    max_rounds: int = 10,
    on_text: OnText | None = None,
    key: str = "turn",
    memory: MemoryStrategy | None = None,
) -> TurnResult:
    """Have a model answer a conversation, calling tools on the way. For async handlers of leased agents.

    Args:
        context: of the handler.
        client: the model.
        messages: the conversation; one that was left in the middle of tool calls is repaired.
        tools: what the model may call.
        max_rounds: most answers; bounds a model that never stops calling tools.
        on_text: called with the text while it is written.
        key: tells several turns in one handler apart.
        memory: shortens the conversation for a model that cannot read all of it; ``Trim()`` by default.

    Raises:
        ModelError, CircuitOpen: the model gave no answer.
        TerminalError: it was still calling tools after ``max_rounds`` answers.
    """
    known = {tool.name: tool for tool in tools}
    conversation = repair_history(messages)
    began = len(conversation)
    usage = TokenUsage()
    calls: list[str] = []
    shortening = Shortening(memory or Trim())
    for number in range(1, max_rounds + 1):
        completion = await _ask(context, client, conversation, tools, on_text, f"{key}:model:{number}", shortening)
        usage += completion.usage
        conversation.append(completion.message)
        if not completion.message.tool_calls:
            return TurnResult(
                text=completion.message.content,
                messages=tuple(conversation[began:]),
                usage=usage + shortening.usage,
                calls=tuple(calls),
                finish_reason=completion.finish_reason,
            )
        for position, request in enumerate(completion.message.tool_calls):
            calls.append(request.name)
            result = await _call(context, known, request, f"{key}:{number}.{position}:{request.id}"[:200])
            conversation.append(ChatMessage("tool", result, tool_call_id=request.id))
    raise TerminalError(
        f"The model of {context.agent} was still calling tools after {max_rounds} answers. "
        "Raise max_rounds if that is right."
    )


async def _ask(
    context: HandlerContext,
    client: ModelClient,
    conversation: Sequence[ChatMessage],
    tools: Sequence[ModelTool],
    on_text: OnText | None,
    key: str,
    shortening: Shortening,
) -> Completion:
    async def ask() -> Completion:
        while True:  # ends: each time there is half as much to leave out
            shown = repair_history(await shortening.fit(conversation))
            try:
                return await ask_model(client, shown, tools=[tool.spec for tool in tools], on_text=on_text)
            except ContextTooLong as error:
                if not shortening.too_long(shown):
                    raise
                context.logger.warning("%d messages are too long for %s's model: %s", len(shown), context.agent, error)

    return msgspec.convert(await context.once(key, ask), Completion)


async def _call(context: HandlerContext, known: Mapping[str, ModelTool], request: ToolRequest, identifier: str) -> str:
    tool = known.get(request.name)
    if tool is None:
        return f"There is no tool {request.name!r}. There are: {', '.join(sorted(known)) or 'none'}."
    call = LedgeredCall(id=identifier, tool=tool.name, arguments=request.arguments, repeatable=tool.repeatable)
    attributes = {names.GEN_AI_OPERATION: "execute_tool", names.GEN_AI_TOOL: tool.name}

    async def run() -> str:
        with tracing.within(f"execute_tool {tool.name}", "internal", attributes):
            return await tool.call(request.arguments)

    return await ledgered(context, call, run)


def repair_history(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Make a conversation one that a server accepts: every tool call answered once, right behind it, and nothing else.

    A conversation can end up otherwise when something stopped it between a call and its answer; servers refuse it for
    good then.

    >>> cut = [ChatMessage("user", "hi"), ChatMessage("assistant", tool_calls=(ToolRequest("1", "look", "{}"),))]
    >>> [(message.role, message.tool_call_id) for message in repair_history([*cut, ChatMessage("user", "well?")])]
    [('user', None), ('assistant', None), ('tool', '1'), ('user', None)]
    """
    repaired: list[ChatMessage] = []
    open_calls: list[ToolRequest] = []

    def close() -> None:
        repaired.extend(ChatMessage("tool", UNANSWERED, tool_call_id=call.id) for call in open_calls)
        open_calls.clear()

    for message in messages:
        if message.role == "tool":
            answered = next((call for call in open_calls if call.id == message.tool_call_id), None)
            if answered is not None:
                open_calls.remove(answered)
                repaired.append(message)
            continue
        close()
        repaired.append(message)
        open_calls.extend(message.tool_calls)
    close()
    return repaired
