"""The relay race on Dramatiq."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.apps.relay import agent_of, first_leg, handle_leg, send_race

dramatiq.set_broker(RabbitmqBroker(url=os.environ["BROKER_URL"], confirm_delivery=True))


def _run(body: dict[str, Any]) -> None:
    following = handle_leg(body)
    if following is not None:
        ACTORS[agent_of(following["leg"])].send(following)


ACTORS: dict[str, Any] = {name: dramatiq.actor(_run, actor_name=name, queue_name="relay") for name in ("ping", "pong")}


def _send(first: int, conversations: int, legs: int) -> None:
    for number in range(first, first + conversations):
        ACTORS["ping"].send(first_leg(number, legs))


if __name__ == "__main__":
    send_race(_send)
