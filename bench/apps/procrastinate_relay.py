"""The relay race on Procrastinate."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from procrastinate import App, PsycopgConnector

from bench.apps.relay import agent_of, first_leg, handle_leg, send_race

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


async def _run(body: dict[str, Any]) -> None:
    following = handle_leg(body)
    if following is not None:
        await TASKS[agent_of(following["leg"])].defer_async(body=following)


TASKS: dict[str, Any] = {name: app.task(name=name)(_run) for name in ("ping", "pong")}


def _send(first: int, conversations: int, legs: int) -> None:
    async def send() -> None:
        async with app.open_async():
            await TASKS["ping"].batch_defer_async(
                *({"body": first_leg(number, legs)} for number in range(first, first + conversations))
            )

    asyncio.run(send())


if __name__ == "__main__":
    send_race(_send)
