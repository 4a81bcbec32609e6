"""An agent of smolagents as an agent of Nexus, in an environment of its own.

python -m venv venv && venv/bin/pip install -r smolagents_requirements.txt
NEXUS=http://127.0.0.1:8000/api TOKEN=nxs_… OPENAI_BASE_URL=… OPENAI_API_KEY=… venv/bin/python smolagents_example.py
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "clients" / "python"))  # or: pip install nexus-agent

from nexus_agent import Agent
from smolagents import OpenAIServerModel, ToolCallingAgent

model = OpenAIServerModel(
    model_id=os.environ.get("MODEL", "gpt-5-mini"),
    api_base=os.environ["OPENAI_BASE_URL"],
    api_key=os.environ["OPENAI_API_KEY"],
)


def handle(message, context):
    def run():
        return str(ToolCallingAgent(tools=[], model=model, max_steps=3, verbosity_level=0).run(message["data"]["text"]))

    context.reply({"text": context.once("run", run)})  # a message that comes again is not paid twice


with Agent(
    os.environ["NEXUS"], os.environ["TOKEN"], "researcher", visibility=float(os.environ.get("VISIBILITY", "30"))
) as agent:
    agent.register(description="Looks things up, with smolagents.", timeout=300)
    print("ready", flush=True)
    agent.run(handle, concurrency=4, wait=5)
