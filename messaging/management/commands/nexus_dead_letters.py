"""``manage.py nexus_dead_letters``: what waits for a person, by cause; look at one, put back, give up."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.core.describing import visible
from messaging.core.errors import NexusError
from messaging.management.arguments import whole_number
from messaging.management.dead_letters import add_choice, filter_from
from messaging.management.tables import age, cell, print_table
from messaging.models import DeadLetter
from messaging.operators.dead_letter_groups import DeadLetterGroup, dead_letter_groups

MAX_BODY = 20_000
EXAMPLES = """examples:
  manage.py nexus_dead_letters groups                     what went wrong, by agent, error and place
  manage.py nexus_dead_letters show 17                    one of them: the error first, then what it carries
  manage.py nexus_dead_letters replay --agent clerk       once its cause is mended (see nexus_replay)
  manage.py nexus_dead_letters discard 17 18              go on without them (see nexus_discard)
"""


class Command(BaseCommand):
    help = "Dead letters: messages that nobody handles without a person's decision."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="groups|list|show|replay|discard")
        groups = actions.add_parser("groups", help="open ones by cause, the most frequent first")
        listing = actions.add_parser("list", help="open ones, the oldest first")
        for action in (groups, listing):
            add_choice(action)
            action.add_argument("--limit", type=whole_number, default=50, help="that many at most (50)")
        showing = actions.add_parser("show", help="one of them: error, history, content")
        showing.add_argument("id", type=int)
        for action in (groups, listing, showing):
            action.add_argument("--json", action="store_true", help="print JSON")
        for name in ("replay", "discard"):
            action = actions.add_parser(name, help=f"the same as nexus_{name}", add_help=False)
            action.add_argument("arguments", nargs="...")

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        try:
            if action in ("replay", "discard"):
                call_command(f"nexus_{action}", *options["arguments"], stdout=self.stdout, stderr=self.stderr)
            elif action == "show":
                self._show(options["id"], as_json=options["json"])
            elif action == "groups":
                self._groups(dead_letter_groups(filter_from(options).select(), limit=options["limit"]), options)
            else:
                self._list(list(filter_from(options).select().defer("body", "headers")[: options["limit"]]), options)
        except NexusError as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The database failed: {error}") from error

    def _groups(self, groups: Any, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps([_group_as_dict(group) for group in groups], indent=2))
            return
        print_table(
            self.stdout,
            ("count", "last hour", "trend", "agent", "type", "cause", "where", "last", "example"),
            [
                (
                    group.count,
                    group.recent,
                    group.trend,
                    group.agent or "unknown",
                    group.message_type,
                    group.error or group.reason,
                    group.place,
                    f"{age(group.last)} ago",
                    cell(f"#{group.example}"),
                )
                for group in groups
            ],
            empty="No dead letter is open.",
        )

    def _list(self, letters: list[DeadLetter], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps([_as_dict(letter) for letter in letters], indent=2))
            return
        print_table(
            self.stdout,
            ("id", "age", "agent", "type", "cause", "workflow"),
            [
                (
                    letter.pk,
                    age(letter.created_at),
                    letter.agent or "unknown",
                    letter.message_type,
                    letter.error or letter.reason,
                    letter.workflow_id or "",
                )
                for letter in letters
            ],
            empty="No dead letter is open.",
        )

    def _show(self, identifier: int, *, as_json: bool) -> None:
        letter = DeadLetter.objects.filter(pk=identifier).first() if 0 < identifier < 2**63 else None
        if letter is None:
            raise CommandError(f"There is no dead letter {identifier}.")
        body = bytes(letter.body)[:MAX_BODY].decode("utf-8", "backslashreplace")
        if as_json:
            self.stdout.write(json.dumps({**_as_dict(letter), "detail": letter.detail, "body": body}, indent=2))
            return
        self.stdout.write(self.style.ERROR(f"#{letter.pk} {letter.get_reason_display()}"))
        self.stdout.write(visible(letter.detail) or "Nothing more is known.")
        self.stdout.write("")
        delivery = letter.delivery
        rows: list[tuple[str, Any]] = [
            ("status", letter.status),
            ("agent", letter.agent or "unknown"),
            ("type", letter.message_type),
            ("where", letter.place),
            ("workflow", letter.workflow_id),
            ("delivery", letter.delivery_id),
            ("attempts", delivery.attempts if delivery else ""),
            ("came", letter.created_at.isoformat(timespec="seconds")),
            (
                "resolved",
                f"{letter.resolved_at:%Y-%m-%d %H:%M:%S} by {letter.resolved_by}" if letter.resolved_at else "",
            ),
        ]
        print_table(self.stdout, ("", ""), [row for row in rows if row[1] not in (None, "")], empty="")
        self.stdout.write("")
        self.stdout.write(visible(body))


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "dead_letter": letter.pk,
        "status": letter.status,
        "agent": letter.agent,
        "type": letter.message_type,
        "reason": letter.reason,
        "error": letter.error,
        "place": letter.place,
        "workflow": str(letter.workflow_id) if letter.workflow_id else None,
        "delivery": str(letter.delivery_id) if letter.delivery_id else None,
        "created_at": letter.created_at.isoformat(),
    }


def _group_as_dict(group: DeadLetterGroup) -> dict[str, Any]:
    return {
        "count": group.count,
        "last_hour": group.recent,
        "trend": group.trend,
        "agent": group.agent,
        "type": group.message_type,
        "reason": group.reason,
        "error": group.error,
        "place": group.place,
        "first": group.first.isoformat(),
        "last": group.last.isoformat(),
        "example": group.example,
    }
