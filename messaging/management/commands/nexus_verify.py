"""``manage.py nexus_verify``: does the log still say what was stored?"""

from __future__ import annotations

import itertools
import json
import sys
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.operators.verifying import verify_log


class Command(BaseCommand):
    help = (
        "Walk the log and report what differs: bytes that their signatures do not prove, rows that say something else "
        "than their envelopes, numbers with holes, wrong counters. Changes nothing. Workflows at work may differ for a "
        "moment: ask again. The exit code is 1 when something differs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("workflows", nargs="*", type=UUID, metavar="WORKFLOW", help="only these; all by default")
        parser.add_argument("--json", action="store_true", help="one object a line, for programs")
        parser.add_argument("--limit", type=int, default=1_000, help="stop after so many (default 1000)")

    def handle(self, *args: Any, **options: Any) -> None:
        count = 0
        try:
            for found in itertools.islice(verify_log(options["workflows"] or None), options["limit"]):
                count += 1
                as_json = json.dumps({"subject": found.subject, "problem": found.problem})
                self.stdout.write(as_json if options["json"] else str(found))
        except DatabaseError as error:
            raise CommandError(f"The log cannot be read: {error}") from error
        if count:
            self.stderr.write(f"{count} differences. Keep a copy of the database before you change anything.")
            sys.exit(1)
        if not options["json"]:
            self.stdout.write("Everything is as it was stored.")
