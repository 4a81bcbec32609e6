r"""An agent of the OpenAI Agents SDK as an agent of Nexus, in an environment of its own: that SDK's package is called
``agents`` too, so it cannot stand beside Nexus.

    python -m venv venv && venv/bin/pip install -r openai_agents_requirements.txt
    NEXUS=http://127.0.0.1:8000/api TOKEN=nxs_… OPENAI_BASE_URL=… OPENAI_API_KEY=… \
        venv/bin/python openai_agents_example.py

What the model said is kept before anything else happens: a message that comes again after a kill is not paid twice.
"""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python"))  # or: pip install nexus-agent

from nexus_agent import AsyncAgent
from openai import AsyncOpenAI

from agents import Agent, OpenAIChatCompletionsModel, Runner, set_tracing_disabled

set_tracing_disabled(True)
model = OpenAIChatCompletionsModel(model=os.environ.get("MODEL", "gpt-5-mini"), openai_client=AsyncOpenAI())
writer = Agent(name="writer", instructions="Answer in one sentence.", model=model)


async def handle(message, context):
    history = context.state.setdefault("history", [])

    async def run():
        result = await Runner.run(writer, [*history, {"role": "user", "content": message["data"]["text"]}])
        return {"text": result.final_output, "history": result.to_input_list()}

    said = await context.once("run", run)
    context.state["history"] = said["history"]
    context.reply({"text": said["text"]})


async def main():
    visibility = float(os.environ.get("VISIBILITY", "30"))
    async with AsyncAgent(os.environ["NEXUS"], os.environ["TOKEN"], "writer", visibility=visibility) as agent:
        await agent.register(description="Writes, with the OpenAI Agents SDK.", timeout=300)
        print("ready", flush=True)
        await agent.run(handle, concurrency=4, wait=5)


asyncio.run(main())
