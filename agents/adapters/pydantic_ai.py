"""An agent of pydantic-ai as an agent of Nexus.

Every answer of its model is kept by ``context.once`` and every call of its tools by the ledger. So a run that a crash
interrupted goes on where it was, without asking the model or calling a finished tool again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import msgspec
from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import KnownModelName, Model, ModelRequestParameters
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
from pydantic_ai.toolsets.wrapper import WrapperToolset
from pydantic_core import to_json, to_jsonable_python

from agents.chat.rules.messages import Usage
from agents.kinds.conversing import ConversingAgent, TextAnswer
from agents.kinds.text import text_of
from agents.llm.ledger import LedgeredCall, ledgered
from messaging.api import ConfigurationError, HandlerContext


class PydanticAgent(ConversingAgent):
    """Runs a pydantic-ai agent on each message and remembers the conversation of each workflow.

    Args:
        name: unique among all agents and groups.
        agent: with a model and tools of its own. Dependencies are given as ``deps``.
        deps: what the agent's tools get as ``RunContext.deps``; shared by all runs.
        settings: see ``BaseAgent``.

    Raises:
        ConfigurationError: the agent has no model.
    """

    def __init__(self, name: str, agent: Agent[Any, Any], *, deps: Any = None, **settings: Any) -> None:
        super().__init__(name, **settings)
        if agent.model is None:
            raise ConfigurationError(
                f"Agent {name!r}: its pydantic-ai agent has no model. Give it one: Agent(model=…)."
            )
        self._agent = agent
        self._deps = deps

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TextAnswer:
        agent = self._agent
        history = ModelMessagesTypeAdapter.validate_python(context.state.get("messages", []))
        model = _KeptModel(agent.model, context)  # type: ignore[arg-type]  # checked above
        toolsets = [_LedgeredToolset(toolset, context) for toolset in agent.toolsets]
        with agent.override(toolsets=toolsets, tools=[]):
            result = await agent.run(text, model=model, message_history=history or None, deps=self._deps)
        context.state["messages"] = ModelMessagesTypeAdapter.dump_python(result.all_messages(), mode="json")
        used = result.usage
        output = to_jsonable_python(result.output)
        return TextAnswer(
            text=text_of(output),
            usage=Usage(used.input_tokens or 0, used.output_tokens or 0),
            calls=_tools_called(result.new_messages()),
            data=None if isinstance(output, str) else output,
        )


def _tools_called(messages: list[ModelMessage]) -> tuple[str, ...]:
    responses = [message for message in messages if isinstance(message, ModelResponse)]
    return tuple(call.tool_name for response in responses for call in response.tool_calls)


class _KeptModel(WrapperModel):
    """Keeps each answer of the model, numbered in the order of asking."""

    def __init__(self, wrapped: Model | KnownModelName | str, context: HandlerContext) -> None:
        super().__init__(wrapped)
        self._context = context
        self._number = count(1)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async def ask() -> Any:
            response = await self.wrapped.request(messages, model_settings, model_request_parameters)
            return ModelMessagesTypeAdapter.dump_python([response], mode="json")

        kept = await self._context.once(f"model:{next(self._number)}", ask)
        (response,) = ModelMessagesTypeAdapter.validate_python(kept)
        if not isinstance(response, ModelResponse):
            raise TypeError(f"kept as an answer of the model: {type(response).__name__}")
        return response


@dataclass
class _LedgeredToolset(WrapperToolset[Any]):
    """Enters each call into the ledger."""

    context: HandlerContext

    def __init__(self, wrapped: AbstractToolset[Any], context: HandlerContext) -> None:
        self.wrapped = wrapped
        self.context = context

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        async def run() -> str:
            return to_json(await super(_LedgeredToolset, self).call_tool(name, tool_args, ctx, tool)).decode()

        call = LedgeredCall(
            id=f"pydantic:{ctx.run_step}:{ctx.tool_call_id or name}"[:200],
            tool=name,
            arguments=to_json(tool_args).decode(),
            tells_failures=False,
        )
        result = await ledgered(self.context, call, run)
        try:
            return msgspec.json.decode(result)
        except msgspec.DecodeError:
            return result  # what the ledger says of an interrupted call
