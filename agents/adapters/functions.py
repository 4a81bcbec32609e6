"""Any callable as an agent."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from agents.kinds.conversing import ConversingAgent, TextAnswer
from agents.kinds.text import text_of
from messaging.api import HandlerContext


class FunctionAgent(ConversingAgent):
    """Answers with what a function returns. Its result is kept: a redelivery does not call it again.

    Args:
        name: unique among all agents and groups.
        function: sync (called in a thread) or async; takes the text, returns a text or any JSON value.
        settings: see ``BaseAgent``.
    """

    def __init__(self, name: str, function: Callable[[str], Any], **settings: Any) -> None:
        super().__init__(name, **settings)
        self._function = function

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TextAnswer:
        async def call() -> Any:
            if inspect.iscoroutinefunction(self._function):
                return await self._function(text)
            result = await asyncio.to_thread(self._function, text)
            return await result if inspect.isawaitable(result) else result

        said = await context.once("call", call)
        return TextAnswer(text=text_of(said), data=None if isinstance(said, str) else said)
