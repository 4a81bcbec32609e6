"""A panel of six whose model is an HTTP server that counts; workers of the tests with real processes load this
module."""

from __future__ import annotations

import os

from agents import ApprovalRequest, MaxRounds, Member, Reply, TeamDefinition, Turn, Usage, chat_member
from messaging.api import HandlerContext
from tests.support.model_server import call_count, wait_gate

SERVER = os.environ.get("SERVER_URL", "")
NAMES = ("ada", "bob", "cyd", "dan", "eve", "fay")


def _speak(turn: Turn, context: HandlerContext) -> Reply:
    """Asks its model once a turn, whatever is killed meanwhile."""
    if SERVER:
        context.once("model", lambda: {"n": call_count(SERVER, f"{context.workflow_id}-{turn.turn}")})
    heard = turn.messages[-1]
    return Reply(content=f"{turn.speaker} heard #{heard.number} of {heard.speaker}", usage=Usage(20, 5, 0.001))


for _name in NAMES:
    chat_member(_name, description=f"speaks as {_name}")(_speak)


@chat_member("asker")
def asker(turn: Turn) -> Reply:
    """Needs a person."""
    return Reply(content="I pay 500 EUR.", approval=ApprovalRequest("Pay 500 EUR?"))


@chat_member("gated")
def gated(turn: Turn, context: HandlerContext) -> str:
    """Waits at a gate of the server."""
    wait_gate(SERVER, "turn")
    return "through"


def panel(rounds: int) -> TeamDefinition:
    """Six members, one after another."""
    return TeamDefinition(
        name="panel", members=tuple(Member(name=name) for name in NAMES), termination=MaxRounds(rounds)
    )
