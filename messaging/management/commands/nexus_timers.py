"""``manage.py nexus_timers``: list what is to be sent later, and cancel some of it."""

from __future__ import annotations

import sys
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.models import Schedule, Timer, TimerState
from messaging.sending import later
from messaging.sending.schedules import unschedule


class Command(BaseCommand):
    help = "List timers and schedules, or cancel some. The exit code is 1 when one was not there."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|cancel")
        listing = actions.add_parser("list", help="list timers, the next due first, and schedules")
        listing.add_argument("--workflow", type=UUID, help="only those of this workflow")
        listing.add_argument("--failed", action="store_true", help="only those that were refused and given up")
        listing.add_argument("--limit", type=int, default=50, help="that many at most (50)")
        cancel = actions.add_parser("cancel", help="cancel timers by id, schedules by name")
        cancel.add_argument("names", nargs="+", metavar="ID|NAME")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["action"] == "list":
                self._list(options["workflow"], options["failed"], options["limit"])
            else:
                self._cancel(options["names"])
        except DatabaseError as error:
            raise CommandError(f"The database failed: {error}") from error

    def _list(self, workflow: UUID | None, failed: bool, limit: int) -> None:
        if limit < 1:
            raise CommandError("--limit: expected a number above 0.")
        timers = Timer.objects.order_by("due_at", "pk")
        if workflow is not None:
            timers = timers.filter(workflow=workflow)
        if failed:
            timers = timers.filter(state=TimerState.FAILED)
        for timer in timers[:limit]:
            error = f"  ({timer.last_error})" if timer.last_error else ""
            self.stdout.write(
                f"{timer.pk}  {timer.due_at:%Y-%m-%d %H:%M:%S}  {timer.state:<7}  {timer.type} from {timer.source} to"
                f" {timer.recipient} in {timer.workflow_id}{error}"
            )
        if workflow is None and not failed:
            for schedule in Schedule.objects.order_by("due_at", "pk")[:limit]:
                when = f"every {schedule.every:g} s" if schedule.every is not None else schedule.cron
                error = f"  ({schedule.last_error})" if schedule.last_error else ""
                self.stdout.write(
                    f"{schedule.name}  {schedule.due_at:%Y-%m-%d %H:%M:%S}  {when}  {schedule.type} from"
                    f" {schedule.source} to {schedule.recipient}{error}"
                )

    def _cancel(self, names: list[str]) -> None:
        missing = 0
        for name in dict.fromkeys(names):
            if unschedule(name) or (_is_uuid(name) and later.cancel(UUID(name))):
                self.stdout.write(f"{name} is cancelled.")
            else:
                missing += 1
                self.stderr.write(f"{name}: there is no such timer or schedule (any more).")
        if missing:
            sys.exit(1)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
