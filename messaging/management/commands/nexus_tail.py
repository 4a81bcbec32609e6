"""``manage.py nexus_tail``: messages as they are sent, like ``tail -f``."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.conf import get_settings
from messaging.core.describing import visible
from messaging.core.envelope import parse_envelope
from messaging.core.errors import NexusError
from messaging.management.arguments import whole_number
from messaging.management.tables import clock
from messaging.models import Message, Workflow
from messaging.operators import tailing
from messaging.security.encryption.payloads import shown_data

PREVIEW = 100
EXAMPLES = """examples:
  manage.py nexus_tail                                  everything, from now on
  manage.py nexus_tail --workflow ID --lines 1000       one conversation from its start, until it ends
  manage.py nexus_tail --agent cashier --type 'order.*' what one agent says and hears
  manage.py nexus_tail --no-follow --json | jq .data    the last ten messages as JSON, one a line
"""


class Command(BaseCommand):
    help = "Print messages as they are sent, in one workflow or in all. Ctrl-C ends it."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workflow", type=UUID, help="only those of this workflow; ends when it has ended")
        parser.add_argument("--agent", default="", help="only those that this agent sends or receives")
        parser.add_argument("--type", default="", help="only those of this type; order.* for all that begin so")
        parser.add_argument("--lines", "-n", type=whole_number, default=10, help="first the last that many (10)")
        parser.add_argument("--no-follow", action="store_true", help="end after those")
        parser.add_argument("--no-data", action="store_true", help="without what the messages carry")
        parser.add_argument("--json", action="store_true", help="print a JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        with suppress(KeyboardInterrupt, BrokenPipeError):
            try:
                self._run(options)
            except NexusError as error:
                raise CommandError(str(error)) from None
            except DatabaseError as error:
                raise CommandError(f"The database failed: {error}") from error

    def _run(self, options: dict[str, Any]) -> None:
        chosen = tailing.MessageFilter(workflow=options["workflow"], agent=options["agent"], type=options["type"])
        if chosen.workflow is not None and not Workflow.objects.filter(pk=chosen.workflow).exists():
            raise CommandError(f"There is no workflow {chosen.workflow}.")
        seen = tailing.last(chosen, options["lines"])
        for message in seen:
            self._show(message, options)
        if not options["no_follow"]:
            for message in tailing.follow(chosen, seen):
                self._show(message, options)

    def _show(self, message: Message, options: dict[str, Any]) -> None:
        data: Any = None
        if not options["no_data"]:
            try:
                limit = get_settings().max_message_bytes
                data = shown_data(parse_envelope(bytes(message.envelope), max_bytes=limit))
            except NexusError as error:
                data = f"unreadable: {error}"
        if options["json"]:
            self.stdout.write(json.dumps(_as_dict(message, data, with_data=not options["no_data"])))
        else:
            carried = "" if options["no_data"] else json.dumps(data, ensure_ascii=False)
            if len(carried) > PREVIEW:
                carried = f"{carried[:PREVIEW]}…"
            self.stdout.write(
                visible(
                    f"{clock(message.created_at)}  {message.workflow_id.hex[-8:]} #{message.sequence:<5} "
                    f"{message.source} → {message.subject}  {message.type}  {carried}".rstrip()
                )
            )
        self.stdout.flush()


def _as_dict(message: Message, data: Any, *, with_data: bool) -> dict[str, Any]:
    described = {
        "message": str(message.pk),
        "workflow": str(message.workflow_id),
        "sequence": message.sequence,
        "type": message.type,
        "sender": message.source,
        "recipient": message.subject,
        "created_at": message.created_at.isoformat(),
    }
    return {**described, "data": data} if with_data else described
