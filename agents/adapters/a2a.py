"""An agent anywhere that speaks A2A 1.0, as an agent of Nexus. It needs no framework."""

from __future__ import annotations

from typing import Any
from uuid import uuid5

import msgspec

from agents.adapters.a2a_remote import AUTH_REQUIRED, FAILED_STATES, INPUT_REQUIRED, RemoteAgent, Standing
from agents.kinds.conversing import ConversingAgent, TextAnswer
from agents.kinds.text import plain
from messaging.api import HandlerContext, RetryPolicy, TerminalError

MEMORY = "a2a"
"""What the agent's state calls the remote's context and the task that waits for input."""


class A2AAgent(ConversingAgent):
    """Has a remote agent answer, in one context of the remote for each workflow.

    A message bears an id made of the delivery's, and what the remote answered is kept by ``context.once``: a redelivery
    asks again only when nothing was kept, and with the same id, by which the remote knows it. While the remote works
    the handler waits for ``patience``; then the message's durable retries do, which hold no place. When the remote
    wants input, its question is the answer, and the next text in the workflow goes to the same task. What it says comes
    from outside: it bears the label ``origin:a2a``.

    Args:
        name: unique among all agents and groups.
        url: of the remote; its card is at ``/.well-known/agent-card.json`` below it. Only this origin is called.
        key_variable: the environment variable that holds the remote's token; None for a remote without tokens.
        patience: seconds that an attempt waits for the remote's task.
        silence: seconds that the remote may say nothing.
        settings: see ``BaseAgent``.

    Raises:
        ConfigurationError: the URL is none, or holds a password.
    """

    origin = "a2a"
    retry = RetryPolicy(max_attempts=100, base=2.0, cap=60.0)

    def __init__(
        self,
        name: str,
        url: str,
        *,
        key_variable: str | None = None,
        patience: float = 60.0,
        silence: float = 30.0,
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self._remote = RemoteAgent(url, key_variable=key_variable, silence=silence)
        self._patience = patience

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TextAnswer:
        known: dict[str, str] = context.state.setdefault(MEMORY, {})

        async def send() -> Any:
            return plain(await self._remote.send(text, uuid5(context.delivery_id, MEMORY), **known))

        standing = msgspec.convert(await context.once("send", send), Standing)
        if not standing.is_settled:
            left = context.time_left
            patience = self._patience if left is None else min(self._patience, left)

            async def settle() -> Any:
                return plain(await self._remote.settle(standing.task, patience))

            standing = msgspec.convert(await context.once("settle", settle), Standing)
        return self._told(standing, known)

    def _told(self, standing: Standing, known: dict[str, str]) -> TextAnswer:
        if standing.state in FAILED_STATES:
            said = standing.text or "it says nothing about it"
            raise TerminalError(f"{self._remote} ended the task {standing.task} as {standing.state}: {said[:500]}")
        known.clear()
        if standing.context:
            known["context"] = standing.context
        data = standing.data
        if standing.state in (INPUT_REQUIRED, AUTH_REQUIRED):
            known["task"] = standing.task
            data = {"state": standing.state, "task": standing.task}
        return TextAnswer(text=standing.text, data=data)
