"""``manage.py nexus_workflows``: find workflows, look at one, stop and go on, fork and export."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from django.utils import timezone

from messaging.core.errors import NexusError
from messaging.core.ids import uuid7_floor
from messaging.management.acting import shell_actor
from messaging.management.arguments import whole_number
from messaging.management.tables import age, cell, clock, print_table
from messaging.models import Workflow, WorkflowStatus
from messaging.operators import mending
from messaging.operators.acts import perform, record
from messaging.operators.exporting import describe, export_json, find_workflow
from messaging.operators.forking import fork
from messaging.operators.recreating import export_test
from messaging.operators.timeline import TimelineMessage, read_mailboxes, read_window
from messaging.workflows import life_cycle as workflows

MAX_PREVIEW = 60
UNITS = {"m": "minutes", "h": "hours", "d": "days"}
CHANGES = {
    "pause": "hold what is not handled yet",
    "resume": "let paused and parked workflows go on, in order",
    "cancel": "end workflows for good",
    "release": "have what is held published now",
    "replay-missing": "publish again what mailboxes wait for",
}
EXAMPLES = """examples:
  manage.py nexus_workflows list --status parked          what waits for a person, and why
  manage.py nexus_workflows list --name order --since 2h  by a part of the name, of the last two hours
  manage.py nexus_workflows show ID --from 100            how far it is, and its messages from #100 on
  manage.py nexus_workflows pause ID --reason "bank is down"
  manage.py nexus_workflows skip DELIVERY --reason "sent twice"
  manage.py nexus_workflows fork ID --after 17            another one that begins with its first 17 messages
  manage.py nexus_workflows export ID > workflow.json
  manage.py nexus_workflows export ID --test --output test_orders.py
"""


def _span(text: str) -> timedelta:
    """A span such as ``90m``, ``2h`` or ``7d``."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 10_000 and unit in UNITS):
        raise ArgumentTypeError(f"expected a span such as 90m, 2h or 7d, got {text[:30]!r}")
    return timedelta(**{UNITS[unit]: int(number)})


class Command(BaseCommand):
    help = (
        "List workflows, look at one, pause, resume or cancel some, fork or export one. The exit code is 1 when one "
        "could not be changed."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|pause|resume|…")
        listing = actions.add_parser("list", help="list workflows, the newest first")
        listing.add_argument("--status", choices=WorkflowStatus.values, help="only those with this status")
        listing.add_argument("--name", default="", help="only those with this in their name (past 7 days, or --since)")
        listing.add_argument("--since", type=_span, help="only those started in the last 90m, 2h, 7d, …")
        listing.add_argument("--limit", type=whole_number, default=50, help="that many at most (50)")
        show = self._one(actions, "show", "how far it is, its members and messages")
        show.add_argument("--from", dest="first", type=whole_number, help="messages from this number on; else the last")
        for name, text in CHANGES.items():
            action = actions.add_parser(name, help=text)
            action.add_argument("ids", nargs="+", type=UUID, metavar="ID", help="ids of workflows")
            if name in ("pause", "cancel"):
                action.add_argument("--reason", default="", help="for whoever looks at it later")
        skip = actions.add_parser("skip", help="let an agent go on without the message that is next for it")
        skip.add_argument("delivery", type=UUID, help="id of the delivery, as show gives it")
        skip.add_argument("--reason", default="", help="for whoever looks at it later")
        forking = self._one(actions, "fork", "start another one that begins with its messages")
        forking.add_argument("--after", type=whole_number, required=True, help="number of the last message it takes")
        forking.add_argument("--run", action="store_true", help="let it go on at once; otherwise it is paused")
        forking.add_argument("--reason", default="", help="for whoever looks at it later")
        export = self._one(actions, "export", "write it as JSON, or as a test")
        export.add_argument("--test", action="store_true", help="as a Python test for messaging.testing")
        export.add_argument("--output", type=Path, help="file to write; else it is printed")
        for action in actions.choices.values():
            action.add_argument("--json", action="store_true", help="print JSON")

    @staticmethod
    def _one(actions: Any, name: str, text: str) -> ArgumentParser:
        parser: ArgumentParser = actions.add_parser(name, help=text)
        parser.add_argument("workflow", type=UUID, metavar="ID", help="id of the workflow")
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        do = getattr(self, f"_{options['action'].replace('-', '_')}", self._change)
        with suppress(BrokenPipeError):
            try:
                do(options)
            except NexusError as error:
                raise CommandError(str(error)) from None
            except DatabaseError as error:
                raise CommandError(f"The database failed: {error}") from error
            except OSError as error:
                raise CommandError(f"It cannot be written: {error}") from error

    def _list(self, options: dict[str, Any]) -> None:
        found = Workflow.objects.order_by("-pk")
        if options["status"]:
            found = found.filter(status=options["status"])
        if options["name"]:
            found = found.filter(name__icontains=options["name"])
        since = options["since"] or (timedelta(days=7) if options["name"] else None)
        if since is not None:
            found = found.filter(pk__gte=uuid7_floor(timezone.now() - since))
        rows = list(found[: options["limit"]])
        if options["json"]:
            self._print_json([describe(workflow) for workflow in rows])
            return
        print_table(
            self.stdout,
            ("Workflow", "Status", "Messages", "Age", "Name", "Reason"),
            (
                (
                    str(workflow.pk),
                    workflow.status,
                    workflow.sequence,
                    age(workflow.created_at),
                    workflow.name,
                    workflow.status_reason,
                )
                for workflow in rows
            ),
            empty="No such workflow.",
        )

    def _show(self, options: dict[str, Any]) -> None:
        workflow = find_workflow(options["workflow"])
        mailboxes = read_mailboxes(workflow)
        window = read_window(workflow, options["first"] or max(1, workflow.sequence - 19))
        if options["json"]:
            self._print_json(
                describe(workflow)
                | {
                    "mailboxes": [
                        {"agent": box.agent, "sent": box.sent, "processed": box.processed, "gap": box.gap}
                        for box in mailboxes
                    ],
                    "window": [_as_dict(message) for message in window.messages],
                }
            )
            return
        reason = f" ({workflow.status_reason})" if workflow.status_reason else ""
        self.stdout.write(cell(f"{workflow.name}: {workflow.status}{reason}, {workflow.sequence} messages").plain)
        print_table(
            self.stdout,
            ("Agent", "Sent to it", "Done", "Not done", "Gap"),
            (
                (
                    box.agent,
                    box.sent,
                    box.processed,
                    box.sent - box.processed,
                    "{}-{}".format(*box.gap) if box.gap else "",
                )
                for box in mailboxes
            ),
            empty="Nobody got a message yet.",
        )
        self.stdout.write("")
        print_table(
            self.stdout,
            ("#", "At", "From", "To", "Type", "Data", "State", "Delivery not done"),
            ([*_line(message)] for message in window.messages),
            empty="No messages there.",
        )

    def _skip(self, options: dict[str, Any]) -> None:
        mending.skip_message(options["delivery"], actor=shell_actor(), reason=options["reason"])
        self._say(options, {"delivery": str(options["delivery"]), "ok": True}, f"{options['delivery']} is left out.")

    def _fork(self, options: dict[str, Any]) -> None:
        made = fork(
            options["workflow"],
            after=options["after"],
            actor=shell_actor(),
            reason=options["reason"],
            run=options["run"],
        )
        described = {
            "workflow": str(made.workflow),
            "after": made.after,
            "waiting": made.waiting,
            "without_state": list(made.without_state),
        }
        text = f"{made.workflow}: forked after #{made.after}, {made.waiting} deliveries are handled anew"
        if made.without_state:
            text += f"; without what they remembered: {', '.join(made.without_state)}"
        self._say(options, described, f"{text}.")

    def _export(self, options: dict[str, Any]) -> None:
        workflow = find_workflow(options["workflow"])
        pieces: Iterable[str] = [export_test(workflow)] if options["test"] else export_json(workflow)
        into = str(options["output"] or "standard output")
        record(shell_actor(), "export", Workflow, workflow.pk, after={"file": into})
        if options["output"] is None:
            for piece in pieces:
                self.stdout.write(piece, ending="")
            return
        with options["output"].open("w", encoding="utf-8") as file:
            file.writelines(pieces)
        self._say(options, {"file": str(options["output"])}, f"Written: {options['output']}")

    def _change(self, options: dict[str, Any]) -> None:
        change = _change_for(options)
        results: list[dict[str, Any]] = []
        for identifier in dict.fromkeys(options["ids"]):
            try:
                change(identifier)
            except NexusError as error:
                results.append({"workflow": str(identifier), "ok": False, "detail": str(error)})
            else:
                status = Workflow.objects.values_list("status", flat=True).get(pk=identifier)
                results.append({"workflow": str(identifier), "ok": True, "detail": f"{identifier} is {status}."})
        if options["json"]:
            self._print_json(results)
        else:
            for result in results:
                (self.stdout if result["ok"] else self.stderr).write(result["detail"])
        if not all(result["ok"] for result in results):
            sys.exit(1)

    def _say(self, options: dict[str, Any], described: dict[str, Any], text: str) -> None:
        if options["json"]:
            self._print_json(described)
        else:
            self.stdout.write(text)

    def _print_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2))


def _change_for(options: dict[str, Any]) -> Callable[[UUID], object]:
    actor, why = shell_actor(), options.get("reason", "")
    reason = f"by {actor}" + (f": {why}" if why else "")
    changes: dict[str, Callable[[UUID], object]] = {
        "pause": lambda identifier: workflows.pause(identifier, reason),
        "resume": workflows.resume,
        "cancel": lambda identifier: workflows.cancel(identifier, reason),
        "release": mending.release,
        "replay-missing": mending.replay_missing,
    }
    change = changes[options["action"]]

    def act(identifier: UUID) -> None:
        def do() -> str:
            change(identifier)
            return ""

        perform(actor, options["action"], Workflow, identifier, do, reason=why)

    return act


def _line(message: TimelineMessage) -> list[Any]:
    row = message.row
    waiting = [str(delivery.row.pk) for delivery in message.deliveries if delivery.row.state != "processed"]
    return [
        row.sequence,
        clock(row.created_at),
        row.source,
        row.subject,
        row.type,
        message.preview[:MAX_PREVIEW],
        message.state,
        " ".join(waiting[:3]) + (f" and {len(waiting) - 3} more" if len(waiting) > 3 else ""),
    ]


def _as_dict(message: TimelineMessage) -> dict[str, Any]:
    row = message.row
    return {
        "message": str(row.pk),
        "sequence": row.sequence,
        "type": row.type,
        "sender": row.source,
        "recipient": row.subject,
        "created_at": row.created_at.isoformat(),
        "labels": message.labels,
        "signed_by": message.key,
        "deliveries": [
            {
                "delivery": str(delivery.row.pk),
                "agent": delivery.row.agent,
                "position": delivery.row.position,
                "state": delivery.row.state,
                "attempts": delivery.row.attempts,
            }
            for delivery in message.deliveries
        ],
    }
