"""``manage.py nexus_replay``: put dead letters back."""

from __future__ import annotations

from messaging.management.dead_letters import DeadLetterCommand
from messaging.operators.acts import Actor
from messaging.operators.dead_letters import replay_letter


class Command(DeadLetterCommand):
    help = (
        "Put dead letters back: their messages are handled again, with their attempts at zero, and a workflow that was "
        "parked goes on once none of its dead letters is open. The exit code is 1 when one could not be put back."
    )
    verb, done = "replay", "replayed"

    def resolve(self, identifier: int, actor: Actor, reason: str) -> None:
        replay_letter(identifier, actor=actor, reason=reason)
