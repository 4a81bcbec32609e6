"""An executor: does named actions, each once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agents.base import BaseAgent
from messaging.api import Envelope, HandlerContext, HandlerKind, TerminalError, TransientError

STEP = "plan.step"
"""The type of a message that asks for a step: ``{"action": …, "arguments": {…}}``."""


class Step(msgspec.Struct, frozen=True):
    """A step that is to be done.

    Args:
        action: its name at the executor.
        arguments: by name.
    """

    action: str
    arguments: dict[str, Any] = {}


class ExecutorAgent(BaseAgent):
    """Does the step that a message asks for, and replies ``{"result": …}`` or ``{"error": …}``.

    The result is kept by ``context.once``: a redelivery does not repeat the action. An action that raises
    ``TransientError`` is tried again later; what else it raises is reported to whoever asked.

    Args:
        name: unique among all agents and groups.
        actions: functions by name, sync or async, that return a JSON value.
        settings: see ``BaseAgent``.
    """

    accepts = (STEP,)
    kind = HandlerKind.LEASED

    def __init__(self, name: str, actions: Mapping[str, Callable[..., Any]], **settings: Any) -> None:
        super().__init__(name, **settings)
        self._actions = dict(actions)

    async def handle(self, message: Envelope, context: HandlerContext) -> None:
        try:
            step = msgspec.convert(message.data, Step)
        except msgspec.ValidationError as error:
            raise TerminalError(f"This is no step: {error}. Expected {{'action': …, 'arguments': {{…}}}}.") from None
        action = self._actions.get(step.action)
        if action is None:
            known = ", ".join(sorted(self._actions))
            context.reply({"error": f"{self.name} has no action {step.action!r}; it has {known or 'none'}."})
            return

        async def run() -> Any:
            return await _run(action, step.arguments)

        try:
            context.reply({"result": await context.once("action", run)})
        except (TransientError, TerminalError):
            raise
        except Exception as error:
            context.logger.exception("The action %s failed.", step.action)
            context.reply({"error": f"{type(error).__name__}: {error}"})


async def _run(action: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(action):
        return await action(**arguments)
    return await asyncio.to_thread(action, **arguments)
