"""``manage.py nexus_discard``: give dead letters up."""

from __future__ import annotations

from messaging.management.dead_letters import DeadLetterCommand
from messaging.operators.acts import Actor
from messaging.operators.dead_letters import discard_letter


class Command(DeadLetterCommand):
    help = (
        "Give dead letters up: their messages are never handled, and a workflow that was parked goes on without them "
        "once none of its dead letters is open. The exit code is 1 when one could not be given up."
    )
    verb, done = "discard", "discarded"

    def resolve(self, identifier: int, actor: Actor, reason: str) -> None:
        discard_letter(identifier, actor=actor, reason=reason)
