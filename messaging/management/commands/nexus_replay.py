"""``manage.py nexus_replay``: put dead letters back."""

from __future__ import annotations

from messaging.management.dead_letters import DeadLetterCommand
from messaging.recovery.replay import replay


class Command(DeadLetterCommand):
    help = (
        "Put dead letters back: their messages are handled again, with their attempts at zero, and a workflow that was "
        "parked goes on once none of its dead letters is open. The exit code is 1 when one could not be put back."
    )
    verb, done = "replay", "replayed"

    def resolve(self, identifier: int, user: str) -> None:
        replay(identifier, user=user)
