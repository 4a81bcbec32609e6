"""``manage.py nexus_workflows``: list, pause, resume and cancel workflows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.core.errors import NexusError
from messaging.management.acting import shell_actor
from messaging.management.arguments import whole_number
from messaging.models import Workflow, WorkflowStatus
from messaging.operators.acts import perform
from messaging.workflows import life_cycle as workflows


class Command(BaseCommand):
    help = "List workflows, or pause, resume or cancel some. The exit code is 1 when one could not be changed."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|pause|resume|cancel")
        listing = actions.add_parser("list", help="list workflows, the newest first")
        listing.add_argument("--status", choices=WorkflowStatus.values, help="only those with this status")
        listing.add_argument("--limit", type=whole_number, default=50, help="that many at most (50)")
        listing.add_argument("--json", action="store_true", help="print JSON")
        for name, text in (
            ("pause", "hold what is not handled yet"),
            ("resume", "let paused and parked workflows go on, in order"),
            ("cancel", "end workflows for good"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("ids", nargs="+", type=UUID, metavar="ID", help="ids of workflows")
            action.add_argument("--json", action="store_true", help="print JSON")
            if name != "resume":
                action.add_argument("--reason", default="", help="for whoever looks at it later")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["action"] == "list":
                self._list(options["status"], options["limit"], as_json=options["json"])
            else:
                self._change(options["ids"], self._action(options), as_json=options["json"])
        except DatabaseError as error:
            raise CommandError(f"The database failed: {error}") from error

    def _action(self, options: dict[str, Any]) -> Callable[[UUID], None]:
        actor, why = shell_actor(), options.get("reason", "")
        reason = f"by {actor}" + (f": {why}" if why else "")

        def act(identifier: UUID) -> None:
            def do() -> str:
                match options["action"]:
                    case "resume":
                        workflows.resume(identifier)
                    case "pause":
                        workflows.pause(identifier, reason)
                    case _:
                        workflows.cancel(identifier, reason)
                return ""

            perform(actor, options["action"], Workflow, identifier, do, reason=why)

        return act

    def _list(self, status: str | None, limit: int, *, as_json: bool) -> None:
        found = Workflow.objects.order_by("-pk")
        if status:
            found = found.filter(status=status)
        if as_json:
            self.stdout.write(json.dumps([_describe(workflow) for workflow in found[:limit]], indent=2))
            return
        for workflow in found[:limit]:
            reason = f"  ({workflow.status_reason})" if workflow.status_reason else ""
            self.stdout.write(
                f"{workflow.pk}  {workflow.status:<9}  {workflow.sequence:>8} messages  {workflow.name}{reason}"
            )

    def _change(self, ids: list[UUID], change: Callable[[UUID], None], *, as_json: bool) -> None:
        results: list[dict[str, Any]] = []
        for identifier in dict.fromkeys(ids):
            try:
                change(identifier)
            except NexusError as error:
                results.append({"workflow": str(identifier), "ok": False, "detail": str(error)})
            else:
                status = Workflow.objects.values_list("status", flat=True).get(pk=identifier)
                results.append({"workflow": str(identifier), "ok": True, "detail": f"{identifier} is {status}."})
        if as_json:
            self.stdout.write(json.dumps(results, indent=2))
        else:
            for result in results:
                (self.stdout if result["ok"] else self.stderr).write(result["detail"])
        if not all(result["ok"] for result in results):
            sys.exit(1)


def _describe(workflow: Workflow) -> dict[str, Any]:
    return {
        "workflow": str(workflow.pk),
        "name": workflow.name,
        "status": workflow.status,
        "reason": workflow.status_reason,
        "messages": workflow.sequence,
        "created_at": workflow.created_at.isoformat(),
        "ended_at": workflow.ended_at.isoformat() if workflow.ended_at else None,
    }
