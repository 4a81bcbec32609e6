"""The chat of docs/comparison.md in AutoGen 0.7.5."""

from __future__ import annotations

import asyncio
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import TextMentionTermination
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_ext.models.replay import ReplayChatCompletionClient

from docs.comparison.model import LINES, TASK, answer


class Model(ReplayChatCompletionClient):
    def __init__(self, speaker: str) -> None:
        super().__init__(LINES[speaker])
        self.speaker, self.turns = speaker, 0

    async def create(self, *args: Any, **kwargs: Any) -> Any:
        answer(self.speaker, self.turns)
        self.turns += 1
        return await super().create(*args, **kwargs)


async def main() -> None:
    team = RoundRobinGroupChat(
        [AssistantAgent(name, Model(name)) for name in LINES],
        termination_condition=TextMentionTermination("APPROVED"),
    )
    async for message in team.run_stream(task=TASK):
        if hasattr(message, "source"):
            print(f"{message.source}: {message.content}", flush=True)


asyncio.run(main())
