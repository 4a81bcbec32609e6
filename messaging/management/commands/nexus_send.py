"""``manage.py nexus_send``: send a message by hand."""

from __future__ import annotations

import json
import sys
import time
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.core import strict_json
from messaging.core.errors import NexusError
from messaging.core.ids import delivery_id
from messaging.core.messages import SentMessage
from messaging.management.arguments import whole_number
from messaging.models import FINAL_STATES, DeadLetter, Delivery, DeliveryState
from messaging.operators.teams import send_message, start_team

SENDER = "operator"
EXAMPLES = """examples:
  manage.py nexus_send greeter greeting '{"name": "Ada"}'              start a workflow with this message
  manage.py nexus_send clerk order @order.json --workflow ID --wait 10  send into one, wait until it is handled
  echo '[1, 2]' | manage.py nexus_send adder numbers -                  data from standard input
"""


class Command(BaseCommand):
    help = (
        "Send a message, into a new workflow unless one is given. The exit code is 1 when it was refused, or was not "
        "handled while --wait waited."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("recipient", help="an agent or a group")
        parser.add_argument("type", help="of the message")
        parser.add_argument("data", nargs="?", default="null", help="JSON; @FILE or - to read it (null)")
        parser.add_argument("--workflow", type=UUID, help="send into this one")
        parser.add_argument("--name", default="sent by hand", help="of the workflow that is started")
        parser.add_argument("--sender", default=SENDER, help=f"who says it ({SENDER})")
        parser.add_argument("--deduplication-id", help="sending again with the same one sends nothing")
        parser.add_argument("--wait", type=whole_number, metavar="SECONDS", help="wait until it is handled")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sent = self._send(options)
            states = self._wait(sent, options["wait"]) if options["wait"] else {}
        except NexusError as error:
            raise CommandError(f"Nothing was sent. {error}") from None
        except DatabaseError as error:
            raise CommandError(f"The database failed: {error}") from error
        described = {"workflow": str(sent.workflow_id), "message": str(sent.id), "sequence": sent.sequence}
        if options["json"]:
            self.stdout.write(json.dumps({**described, "duplicate": sent.duplicate, "deliveries": states}))
        else:
            again = " before" if sent.duplicate else ""
            self.stdout.write(f"Sent{again} as #{sent.sequence} of workflow {sent.workflow_id} (message {sent.id}).")
            for agent, state in states.items():
                self.stdout.write(f"{agent}: {state}")
        if any(not state.startswith(DeliveryState.PROCESSED) for state in states.values()):
            sys.exit(1)

    def _send(self, options: dict[str, Any]) -> SentMessage:
        common = {
            "recipient": options["recipient"],
            "type": options["type"],
            "data": strict_json.loads(_read(options["data"])),
            "sender": options["sender"],
            "deduplication_id": options["deduplication_id"],
        }
        if options["workflow"] is not None:
            return send_message(options["workflow"], **common)
        return start_team(name=options["name"], **common)

    def _wait(self, sent: SentMessage, seconds: int) -> dict[str, str]:
        """The state of each delivery, once all are settled or the time is over."""
        until = time.monotonic() + seconds
        settled = {*FINAL_STATES, DeliveryState.DEAD}
        while True:
            rows = list(Delivery.objects.filter(pk__gte=delivery_id(sent.id, 1), message=sent.id))
            if all(row.state in settled for row in rows) or time.monotonic() > until:
                return {row.agent: _describe(row) for row in rows}
            time.sleep(0.1)


def _read(argument: str) -> bytes:
    if argument == "-":
        return sys.stdin.buffer.read()
    if argument.startswith("@"):
        try:
            return Path(argument[1:]).read_bytes()
        except OSError as error:
            raise CommandError(f"{argument[1:]} cannot be read: {error.strerror}.") from None
    return argument.encode("utf-8", "surrogateescape")


def _describe(row: Delivery) -> str:
    if row.state == DeliveryState.DEAD:
        letter = DeadLetter.objects.filter(delivery=row.pk).order_by("-pk").first()
        if letter is not None:
            return f"dead ({letter.get_reason_display()}; manage.py nexus_dead_letters show {letter.pk})"
    return row.state
