"""Retries and a circuit breaker around any model client."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from agents.llm.errors import ModelBusy, ModelGarbled, ModelRefused, ModelUnavailable
from agents.llm.types import ChatMessage, Completion, ModelClient, OnText, ToolSpec
from messaging.api import CircuitBreaker, RetryPolicy


class ResilientClient:
    """Tries again for a short while. What lasts longer is left to the message's durable retries, which hold no place.

    Args:
        client: asked.
        breaker: shared by everything that asks the same server; one of its own by default.
        retry: how often and for how long; its ``cap`` also bounds how long a Retry-After is waited for here.
        sleep: waits; for tests.
    """

    def __init__(
        self,
        client: ModelClient,
        *,
        breaker: CircuitBreaker | None = None,
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.client = client
        self.breaker = breaker or CircuitBreaker(f"model {getattr(client, 'model', client)!r}")
        self._retry = retry or RetryPolicy(max_attempts=3, base=0.5, cap=8.0)
        self._sleep = sleep
        self._jitter = random.SystemRandom()

    def __repr__(self) -> str:
        return f"ResilientClient({self.client!r})"

    async def complete(
        self, messages: Sequence[ChatMessage], *, tools: Sequence[ToolSpec] = (), on_text: OnText | None = None
    ) -> Completion:
        attempt = 0
        while True:
            attempt += 1
            self.breaker.allow()
            try:
                completion = await self.client.complete(messages, tools=tools, on_text=on_text)
            except ModelRefused:
                self.breaker.succeed()  # the server works; it is the request that does not
                raise
            except (ModelBusy, ModelGarbled) as error:
                self.breaker.succeed()
                await self._pause(attempt, error)
            except ModelUnavailable as error:
                self.breaker.fail()
                await self._pause(attempt, error)
            except BaseException:
                self.breaker.cancel()  # ours, or cancelled: nothing is known about the server
                raise
            else:
                self.breaker.succeed()
                return completion

    async def _pause(self, attempt: int, error: ModelBusy | ModelGarbled | ModelUnavailable) -> None:
        if self._retry.exhausted(attempt, 0.0):
            raise error
        wait = max(self._retry.delay(attempt, self._jitter), error.retry_after or 0.0)
        if wait > self._retry.cap:
            raise error
        await self._sleep(wait)
