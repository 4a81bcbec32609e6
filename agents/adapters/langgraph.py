"""A LangGraph graph as an agent of Nexus.

The graph's checkpoints are kept with the message: a run that a crash interrupted goes on behind its last finished
step, and the state that it ended with is where the next message of the workflow begins. A graph that stops with
``interrupt`` asks its question as the answer, and the next message is what it is told.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.types import Command

from agents.kinds.conversing import ConversingAgent, TextAnswer
from agents.kinds.text import text_of
from messaging.api import ConfigurationError, HandlerContext

CONTEXT = "nexus_context"
"""Under this key of ``config["configurable"]`` nodes find the handler's context; see ``context_of``."""


def context_of(config: RunnableConfig) -> HandlerContext:
    """The handler's context, for a node that wants ``once`` for a part of its work, or to send messages."""
    context: HandlerContext = config["configurable"][CONTEXT]
    return context


class LangGraphAgent(ConversingAgent):
    """Invokes a graph on each message.

    Args:
        name: unique among all agents and groups.
        graph: compiled without a checkpointer.
        to_input: makes the graph's input of the text; by default ``{"messages": [("user", text)]}``.
        to_text: takes the answer out of the state; by default the last of its ``messages``.
        settings: see ``BaseAgent``.

    Raises:
        ConfigurationError: the graph has a checkpointer.
    """

    def __init__(
        self,
        name: str,
        graph: Pregel[Any, Any, Any, Any],
        *,
        to_input: Callable[[str], Any] | None = None,
        to_text: Callable[[Any], Any] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        if graph.checkpointer:
            raise ConfigurationError(
                f"Agent {name!r}: compile its graph without a checkpointer; Nexus keeps its state."
            )
        self._graph = graph
        self._to_input = to_input or _user_message
        self._to_text = to_text or _last_message

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TextAnswer:
        keeper = _Keeper(context)
        given = await keeper.restore(context.state.get("graph"), lambda: self._to_input(text), text)
        graph = self._graph.copy({"checkpointer": keeper})
        state = await graph.ainvoke(given, keeper.config, durability="sync")
        interrupts = [asked.value for asked in (state.pop("__interrupt__", ()) if isinstance(state, dict) else ())]
        context.state["graph"] = {"checkpoint": keeper.last, "interrupted": bool(interrupts)}
        if interrupts:
            return TextAnswer(text=text_of(interrupts[0]), data={"interrupted": True})
        return TextAnswer(text=text_of(self._to_text(state)))


def _user_message(text: str) -> dict[str, Any]:
    return {"messages": [("user", text)]}


def _last_message(state: Any) -> Any:
    last = state["messages"][-1]
    return getattr(last, "content", last)


class _Keeper(InMemorySaver):
    """Keeps the checkpoints of one run as results of its delivery, numbered."""

    def __init__(self, context: HandlerContext) -> None:
        super().__init__()
        self.config: RunnableConfig = {
            "configurable": {"thread_id": str(context.workflow_id), "checkpoint_ns": "", CONTEXT: context}
        }
        self.last = ""
        self._context = context
        self._number = 0

    async def restore(self, before: Any, make_input: Callable[[], Any], text: str) -> Any:
        """Go back to where the graph was.

        Args:
            before: how the last message of the workflow left it; None at the first.
            make_input: makes the input of a new run.
            text: what is said, for a graph that asked.

        Returns:
            What to invoke the graph with.
        """
        while (kept := await self._find(self._number + 1)) is not None:
            self._number, self.last = self._number + 1, kept
        if self._number:
            self._load(self.last)
            return None
        if before is None:
            return make_input()
        self._load(before["checkpoint"])
        return Command(resume=text) if before["interrupted"] else make_input()

    async def _find(self, number: int) -> str | None:
        if self._context.results is None:
            return None
        kept = await asyncio.wrap_future(self._context.results.find(self._context.delivery_id, f"checkpoint:{number}"))
        return None if kept is None else msgspec.json.decode(kept, type=str)

    def _load(self, kept: str) -> None:
        kind, _, data = kept.partition(":")
        checkpoint, metadata = self.serde.loads_typed((kind, base64.b64decode(data)))
        super().put(self.config, checkpoint, metadata, checkpoint["channel_versions"])

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        saved = await super().aput(config, checkpoint, metadata, new_versions)
        if not config["configurable"].get("checkpoint_ns"):  # those of subgraphs run again with their node
            kind, data = self.serde.dumps_typed((checkpoint, metadata))
            self._number, self.last = self._number + 1, f"{kind}:{base64.b64encode(data).decode()}"
            if self._context.results is not None:
                await asyncio.wrap_future(
                    self._context.results.save(
                        self._context.delivery_id, f"checkpoint:{self._number}", msgspec.json.encode(self.last)
                    )
                )
        return saved
