"""Slow and quick agents, for the tests of leased handlers."""

from __future__ import annotations

import asyncio
import os
import time

from agents.api import agent
from messaging.api import Envelope, HandlerContext, HandlerKind
from tests.support.model_server import call_count, wait_gate

SERVER = os.environ.get("SERVER_URL", "")


@agent("sleeper", accepts=["ask"])
async def sleeper(message: Envelope, context: HandlerContext) -> None:
    """Waits on the event loop, as for an HTTP answer."""
    await asyncio.sleep(message.data["seconds"])
    context.reply({"slept": message.data["seconds"]})


@agent("blocker", accepts=["ask"], kind=HandlerKind.LEASED)
def blocker(message: Envelope, context: HandlerContext) -> None:
    """Waits in its thread."""
    time.sleep(message.data["seconds"])
    context.reply({"slept": message.data["seconds"]})


@agent("quick", accepts=["ask"])
def quick(message: Envelope, context: HandlerContext) -> None:
    context.reply(message.data)


@agent("caller", kind=HandlerKind.LEASED)
def caller(message: Envelope, context: HandlerContext) -> None:
    """Calls a server once, and is killed before it can answer."""
    called = context.once("call", lambda: {"n": call_count(SERVER, "call")})
    call_count(SERVER, "attempt")
    wait_gate(SERVER, "before-commit")
    context.reply(called)


@agent("async-caller")
async def async_caller(message: Envelope, context: HandlerContext) -> None:
    """The same on the event loop, with a call after the kill."""

    async def count() -> int:
        return await asyncio.to_thread(call_count, SERVER, "async")

    async def again() -> int:
        return await asyncio.to_thread(call_count, SERVER, "after")

    first = await context.once("first", count)
    await asyncio.to_thread(wait_gate, SERVER, "before-commit")
    context.reply([first, await context.once("second", again)])
