"""Agents for tests with real processes, named by NEXUS_AGENTS. They write every call down twice, independently:

* a line in the file RACE_ATTEMPTS, appended at once: every call, whatever becomes of its transaction;
* a row in the ledger's table, inside the handler's transaction: every call that counted.
"""

from __future__ import annotations

import os
import signal

from messaging.api import AgentSpec, Envelope, HandlerContext, registry
from tests.support import ledger


def note_attempt(message: Envelope, context: HandlerContext) -> None:
    """Append a line; one write of less than a page is atomic."""
    line = f"{message.workflow_id} {context.agent} {message.sequence_number} {context.delivery_id}\n"
    descriptor = os.open(os.environ["RACE_ATTEMPTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def run_leg(message: Envelope, context: HandlerContext) -> None:
    """Handle one leg of a relay race: note it and send the next one."""
    note_attempt(message, context)
    ledger.write(message, context)
    leg = message.data["leg"]
    if leg < message.data["legs"]:
        context.send("pong" if context.agent == "ping" else "ping", "race.leg", {**message.data, "leg": leg + 1})


def count(message: Envelope, context: HandlerContext) -> None:
    """Note it, and nothing else."""
    note_attempt(message, context)
    ledger.write(message, context)


def kill_worker(message: Envelope, context: HandlerContext) -> None:
    """Kill the whole worker: the main process, and this one."""
    note_attempt(message, context)
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


for name, handler in (("ping", run_leg), ("pong", run_leg), ("sink", count), ("killer", kill_worker)):
    registry.register(AgentSpec(name=name, handler=handler))
