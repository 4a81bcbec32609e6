"""The relay race on AutoGen-core's in-memory runtime: one process, nothing survives it."""

from __future__ import annotations

import asyncio
from typing import Any

from autogen_core import (
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    TopicId,
    TypeSubscription,
    message_handler,
)
from pydantic import BaseModel

from bench.apps.relay import agent_of, first_leg, handle_leg, send_race


class Leg(BaseModel):
    """A message."""

    body: dict[str, Any]


class Runner(RoutedAgent):
    """Both agents."""

    async def _run(self, message: Leg, context: MessageContext) -> None:
        following = handle_leg(message.body)
        if following is not None:
            topic = TopicId(agent_of(following["leg"]), str(following["conversation"]))
            await self.publish_message(Leg(body=following), topic)

    run = message_handler(_run)


async def _race(first: int, conversations: int, legs: int) -> None:
    runtime = SingleThreadedAgentRuntime()
    for name in ("ping", "pong"):
        await Runner.register(runtime, name, lambda: Runner("runs"))
        await runtime.add_subscription(TypeSubscription(topic_type=name, agent_type=name))
    runtime.start()
    for number in range(first, first + conversations):
        await runtime.publish_message(Leg(body=first_leg(number, legs)), TopicId("ping", str(number)))
    await runtime.stop_when_idle()


if __name__ == "__main__":
    send_race(lambda first, conversations, legs: asyncio.run(_race(first, conversations, legs)))
