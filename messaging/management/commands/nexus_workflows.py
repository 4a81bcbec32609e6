"""``manage.py nexus_workflows``: list, pause, resume and cancel workflows."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.core.errors import NexusError
from messaging.management.arguments import whole_number
from messaging.models import Workflow, WorkflowStatus
from messaging.workflows import life_cycle as workflows


class Command(BaseCommand):
    help = "List workflows, or pause, resume or cancel some. The exit code is 1 when one could not be changed."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|pause|resume|cancel")
        listing = actions.add_parser("list", help="list workflows, the newest first")
        listing.add_argument("--status", choices=WorkflowStatus.values, help="only those with this status")
        listing.add_argument("--limit", type=whole_number, default=50, help="that many at most (50)")
        for name, text in (
            ("pause", "hold what is not handled yet"),
            ("resume", "let paused and parked workflows go on, in order"),
            ("cancel", "end workflows for good"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("ids", nargs="+", type=UUID, metavar="ID", help="ids of workflows")
            if name != "resume":
                action.add_argument("--reason", default="", help="for whoever looks at it later")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["action"] == "list":
                self._list(options["status"], options["limit"])
            else:
                self._change(options["ids"], self._action(options))
        except DatabaseError as error:
            raise CommandError(f"The database failed: {error}") from error

    def _action(self, options: dict[str, Any]) -> Callable[[UUID], None]:
        if options["action"] == "resume":
            return workflows.resume
        reason = f"by {getpass.getuser()} (command line)" + (f": {options['reason']}" if options["reason"] else "")
        change = workflows.pause if options["action"] == "pause" else workflows.cancel
        return lambda identifier: change(identifier, reason)

    def _list(self, status: str | None, limit: int) -> None:
        found = Workflow.objects.order_by("-pk")
        if status:
            found = found.filter(status=status)
        for workflow in found[:limit]:
            reason = f"  ({workflow.status_reason})" if workflow.status_reason else ""
            self.stdout.write(
                f"{workflow.pk}  {workflow.status:<9}  {workflow.sequence:>8} messages  {workflow.name}{reason}"
            )

    def _change(self, ids: list[UUID], change: Callable[[UUID], None]) -> None:
        failed = 0
        for identifier in dict.fromkeys(ids):
            try:
                change(identifier)
            except NexusError as error:
                failed += 1
                self.stderr.write(str(error))
            else:
                status = Workflow.objects.values_list("status", flat=True).get(pk=identifier)
                self.stdout.write(f"{identifier} is {status}.")
        if failed:
            sys.exit(1)
