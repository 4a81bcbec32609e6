"""``manage.py nexus_prune``: remove old messages."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from django.utils import timezone

from messaging.core.errors import ConfigurationError
from messaging.management.arguments import whole_number
from messaging.recovery.retention import check_age, count_prunable, prune_messages
from messaging.transactions.pruning import prune_sagas, prune_two_phase


class Command(BaseCommand):
    help = (
        "Remove messages that are older than so many days and that nothing needs any more, with their deliveries, and "
        "ended workflows that have none left. Works in chunks beside a running system."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--days", type=float, required=True, help="only what was sent longer ago")
        parser.add_argument("--archive", type=Path, metavar="FILE", help="first append each message to it as JSON")
        parser.add_argument(
            "--sagas",
            action="store_true",
            help="also sagas and two-phase commits that ended before, and their journals",
        )
        parser.add_argument("--limit", type=whole_number, help="that many messages at most")
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.add_argument("--dry-run", action="store_true", help="only say how many there are")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            age = timedelta(days=options["days"])
        except (ValueError, OverflowError):
            raise CommandError(f"--days: {options['days']} is no age. Give a number of days.") from None
        try:
            check_age(age)
        except ConfigurationError as error:
            raise CommandError(f"--days: {error}") from error
        try:
            if options["dry_run"]:
                self.stdout.write(f"Would be removed: {count_prunable(timezone.now() - age)} messages.")
                return
            done = prune_messages(age, archive=options["archive"], most=options["limit"])
            sagas = {"sagas": prune_sagas(age), "two_phase": prune_two_phase(age)} if options["sagas"] else {}
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, OSError) as error:
            raise CommandError(f"{error}\nWhat was removed before is gone; run this again.") from error
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(done), **sagas}))
            return
        self.stdout.write(
            f"Removed: {done.messages} messages, {done.deliveries} deliveries, {done.workflows} workflows"
            + (f", {sagas['sagas']} sagas, {sagas['two_phase']} two-phase commits." if sagas else ".")
        )
