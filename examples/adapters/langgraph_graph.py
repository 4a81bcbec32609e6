"""A LangGraph graph as a durable agent. Its worker is killed in the second node.

The checkpoint of every finished step is stored, so after the kill the graph goes on in its second node; the first one
does not run again. The graph's state lasts from one message of the conversation to the next.

python examples/adapters/langgraph_graph.py        needs requirements-extras.txt
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

try:
    from langgraph.graph import END, START, MessagesState, StateGraph
except ModuleNotFoundError as missing:
    raise SystemExit(f"{missing}. This example needs: pip install -r requirements-extras.txt") from None

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.harness.embedded import prepare, running
from examples.harness.interruption import converse

prepare(__file__)

from agents.adapters.langgraph import LangGraphAgent


def outline(state: MessagesState) -> dict[str, Any]:
    """The first step; expensive, say."""
    print("outline runs", flush=True)
    return {"messages": [("ai", f"outline of {state['messages'][-1].content!r}")]}


def write(state: MessagesState) -> dict[str, Any]:
    """The second step: slow, so that it is interrupted."""
    time.sleep(2.0)
    return {"messages": [("ai", f"a text after an {state['messages'][-1].content}")]}


builder = StateGraph(MessagesState)
builder.add_node("outline", outline)
builder.add_node("write", write)
builder.add_edge(START, "outline")
builder.add_edge("outline", "write")
builder.add_edge("write", END)

LangGraphAgent("writer", builder.compile()).register()


def main() -> None:
    with running(__file__) as nexus:
        converse(nexus, "writer", ["a letter", "a poem"])
        runs = nexus.worker.log.read_text().count("outline runs")
    print(f"The first node ran {runs} times for two questions.")


if __name__ == "__main__":
    main()
