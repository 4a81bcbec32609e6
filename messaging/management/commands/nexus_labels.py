"""``manage.py nexus_labels``: which message brought a label in, and lowering one."""

from __future__ import annotations

import getpass
import json
from argparse import RawDescriptionHelpFormatter
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging.core.errors import NexusError
from messaging.models import LabelEndorsement, Message
from messaging.operators.labels import approve, endorse
from messaging.security.labels.tracing import parse_stored, trace

EXAMPLES = """\
examples:
  manage.py nexus_labels why 01a2…                    the messages that brought its labels in
  manage.py nexus_labels endorse 01a2… --reason "read it, harmless"
                                                      it counts as trusted, and what stopped goes on
  manage.py nexus_labels endorse 01a2… --reason "asked them" --public customers --keep-origins
  manage.py nexus_labels approve 01a2… --reason "paid by hand before"
                                                      an agent that does all three may handle it as it is
"""


class Command(BaseCommand):
    help = "Look at the labels of messages, and lower them for a reason."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog, parser.formatter_class = EXAMPLES, RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="why|endorse|approve")
        why = actions.add_parser("why", help="the chain of messages that brought a label in")
        endorsing = actions.add_parser("endorse", help="let a message count as trusted")
        approving = actions.add_parser("approve", help="let an agent that does all three handle a message as it is")
        for action in (why, endorsing, approving):
            action.add_argument("message", type=UUID, metavar="MESSAGE")
            action.add_argument("--json", action="store_true", help="for programs")
        for action in (endorsing, approving):
            action.add_argument("--reason", required=True, help="for whoever reads the log")
            action.add_argument("--who", default="", help="who says so; the system's user by default")
        endorsing.add_argument("--public", action="append", default=[], metavar="NAME", help="no secret of NAME's")
        endorsing.add_argument("--keep-origins", action="store_true", help="it stays untrusted")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options)
        except NexusError as error:
            raise CommandError(str(error)) from None

    def _why(self, options: dict[str, Any]) -> None:
        message = options["message"]
        body = Message.objects.filter(pk=message).values_list("envelope", flat=True).first()
        if body is None:
            raise CommandError(f"There is no message {message}.")
        chains = trace(message)
        endorsements = list(
            LabelEndorsement.objects.filter(message_id=message)
            .order_by("pk")
            .values("kind", "who", "reason", "before", "after", "at")
        )
        if options["json"]:
            data = {
                "message": str(message),
                "labels": parse_stored(bytes(body)).labels or "",
                "chains": [asdict(chain) for chain in chains],
                "endorsements": endorsements,
            }
            self.stdout.write(json.dumps(data, default=str, indent=2))
            return
        if not chains:
            self.stdout.write(f"Message {message} has no labels: it is trusted and public.")
        for chain in chains:
            self.stdout.write(f"{chain.label}:")
            for link in chain.links:
                self.stdout.write(f"  {link}")
            self.stdout.write("  the log does not reach back further" if not chain.complete else "  here it came in")
        for one in endorsements:
            self.stdout.write(
                f"{one['kind']} by {one['who']} at {one['at']}: {one['reason']} ({one['after'] or 'none'})"
            )

    def _endorse(self, options: dict[str, Any]) -> None:
        replayed = endorse(
            options["message"],
            options["reason"],
            who=_who(options),
            trusted=not options["keep_origins"],
            public=options["public"],
        )
        self._done(options, replayed, "endorsed")

    def _approve(self, options: dict[str, Any]) -> None:
        self._done(options, approve(options["message"], options["reason"], who=_who(options)), "approved")

    def _done(self, options: dict[str, Any], replayed: list[int], done: str) -> None:
        if options["json"]:
            self.stdout.write(json.dumps({"message": str(options["message"]), "done": done, "replayed": replayed}))
        else:
            self.stdout.write(f"Message {options['message']} is {done}; {len(replayed)} dead letters were put back.")


def _who(options: dict[str, Any]) -> str:
    try:
        return options["who"] or getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        return "nexus_labels"
