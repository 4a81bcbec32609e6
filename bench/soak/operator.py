"""The operator of a soak: each line of its input is a JSON list, a command with its arguments; a line answers it.

setup: a user, a token for the program outside, a link by which strangers watch a workflow; written as JSON.
mend: release what a failing rule quarantined, and replay what the changed policy refused; how many there were.
transfer: begin so many two-phase commits; their ids.
manage: a command of manage.py.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from bench.soak.agents import TRANSFER  # noqa: E402
from messaging.api import NexusError, ReliableCommunicationBus  # noqa: E402
from messaging.models import DeadLetter, DeadLetterStatus, DeadReason  # noqa: E402
from messaging.operating import Entrance  # noqa: E402
from messaging.operators import quarantine  # noqa: E402
from messaging.operators.acts import Actor  # noqa: E402
from messaging.operators.dead_letters import replay_letter  # noqa: E402
from nexus_api.tokens import create_token  # noqa: E402
from nexus_live.sharing import make_link  # noqa: E402

NAME = "soak"
WATCHED = 86_400.0
RATE = 1_000_000
"""Requests a minute: the soak measures nothing of the limit."""


def set_up() -> dict[str, str]:
    """Make what the processes outside need."""
    user = get_user_model().objects.create_superuser(NAME)
    _, secret = create_token(name=NAME, owner=user, scopes=["agents:act"], senders=["outside"], rate=RATE)
    bus = ReliableCommunicationBus()
    bus.register_agent("source")
    workflow = bus.start_workflow("watched")
    _, link = make_link(workflow, user, WATCHED)
    bus.close()
    return {"token": secret, "events": f"/live/shared/{link}/events", "workflow": str(workflow)}


def mend() -> int:
    """Do what an operator does when rules and policy are in order again; return how much there was to do."""
    done = 0
    for verdict in quarantine.waiting():
        try:
            quarantine.release(verdict.pk, user=NAME, note="the rule works again")
            done += 1
        except NexusError as error:  # somebody else was faster
            print(error, file=sys.stderr)
    letters = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN, reason=DeadReason.NOT_AUTHORIZED)
    for identifier in letters.order_by("pk").values_list("pk", flat=True):
        try:
            replay_letter(identifier, actor=Actor(NAME, Entrance.SHELL), reason="the policy allows it again")
            done += 1
        except NexusError as error:
            print(error, file=sys.stderr)
    return done


def transfer(count: str) -> list[str]:
    """Begin two-phase commits."""
    bus = ReliableCommunicationBus()
    runs = [str(TRANSFER.start(bus, actor=NAME)) for _ in range(int(count))]
    bus.close()
    return runs


def manage(*arguments: str) -> None:
    """Run a command of manage.py."""
    call_command(*arguments, stdout=sys.stderr, stderr=sys.stderr)


COMMANDS: dict[str, Callable[..., object]] = {"setup": set_up, "mend": mend, "transfer": transfer, "manage": manage}


def main() -> None:
    """Do what is asked until the input ends."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"answer": COMMANDS[name](*arguments)}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - who asked is told
            answer = {"error": f"{type(error).__name__}: {error}"}
        finally:
            connection.close()  # the database may be another one, or away, until the next
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
