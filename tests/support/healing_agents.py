"""Agents that reach the database in each way there is, and a program that asks them all.

The program asks everybody, then "patient", who answers when the file FOLDER/go is there: the fault comes while it
waits. Then it asks everybody again, in the same thread, and writes who answered as JSON.
"""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from time import monotonic
from typing import Any

from agents.adapters.functions import FunctionAgent
from agents.llm.tools import Tool
from messaging.api import AgentSpec, Envelope, HandlerContext, HandlerKind, ReliableCommunicationBus, registry
from messaging.models import Agent

PLACES = ("transactional", "leased", "coroutine", "once", "tool", "async_tool", "function", "async_function")
PATIENCE = 60.0


def count_rows(_: str = "") -> str:
    return str(Agent.objects.count())


async def acount_rows(_: str = "") -> str:
    return str(await Agent.objects.acount())


def reply_directly(message: Envelope, context: HandlerContext) -> None:
    context.reply(count_rows())


async def reply_async(message: Envelope, context: HandlerContext) -> None:
    context.reply(await acount_rows())


async def reply_once(message: Envelope, context: HandlerContext) -> None:
    context.reply(await context.once("count", acount_rows))


def reply_by_tool(function: Any) -> Any:
    """A handler that calls a tool as a model would have it called, several at once, so that many threads are used."""

    async def handle(message: Envelope, context: HandlerContext) -> None:
        said = await asyncio.gather(*(Tool(function, name="count").call("{}") for _ in range(4)))
        context.reply(said[0])

    return handle


def count_for_tool() -> str:
    return count_rows()


async def acount_for_tool() -> str:
    return await acount_rows()


async def wait_for_go(message: Envelope, context: HandlerContext) -> None:
    ends = monotonic() + PATIENCE
    while not Path(message.data).exists() and monotonic() < ends:
        await asyncio.sleep(0.05)
    context.reply("at last")


def register() -> None:
    """Make them known to this process."""
    registry.register(AgentSpec(name="transactional", handler=reply_directly))
    for name, handler in (
        ("leased", reply_directly),
        ("coroutine", reply_async),
        ("once", reply_once),
        ("tool", reply_by_tool(count_for_tool)),
        ("async_tool", reply_by_tool(acount_for_tool)),
        ("patient", wait_for_go),
    ):
        registry.register(AgentSpec(name=name, handler=handler, kind=HandlerKind.LEASED))
    FunctionAgent("function", count_rows).register()
    FunctionAgent("async_function", acount_rows).register()


def main(folder: Path) -> None:
    """The program."""
    bus = ReliableCommunicationBus()
    bus.register_agent("program")
    workflow = bus.start_workflow("healing")
    answers: dict[str, str] = {}
    for place in PLACES:  # so that each connection is there before the fault
        bus.request(workflow, place, "ask", "", sender="program", timeout=40.0)
    told = threading.Timer(0.2, (folder / "waiting").touch)
    told.start()
    asked: list[tuple[str, Any]] = [("patient", str(folder / "go"))] + [(place, "") for place in PLACES]
    for place, data in asked:
        try:
            answers[place] = str(bus.request(workflow, place, "ask", data, sender="program", timeout=40.0).data)
        except Exception as error:  # noqa: BLE001 - the account says it
            answers[place] = f"FAILED {type(error).__name__}: {error}"
    bus.close()
    print(json.dumps(answers))


register()
