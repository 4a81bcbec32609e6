"""Sends a race with Nexus, from a Django process."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")
django.setup()

from bench.apps.relay import first_leg, send_from_command_line  # noqa: E402
from messaging.api import Outgoing, ReliableCommunicationBus  # noqa: E402


def main() -> None:
    """Start the workflows, then send the first message of each."""
    import sys

    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    workflows = [bus.start_workflow(f"race {number}") for number in range(int(sys.argv[2]))]

    def send(first: int, conversations: int, legs: int) -> None:
        bus.send_many(
            [
                Outgoing(
                    workflow_id=workflows[number],
                    source="web",
                    recipient="ping",
                    type="race.leg",
                    data=first_leg(first + number, legs),
                )
                for number in range(conversations)
            ]
        )

    send_from_command_line(send)
    bus.close()


if __name__ == "__main__":
    main()
