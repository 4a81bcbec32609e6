"""``manage.py nexus_groups``: the groups of people, and what they may do."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandParser

from messaging.management.tables import print_table
from messaging.security.access.permissions import GROUPS, create_groups


class Command(BaseCommand):
    help = (
        "List the groups of people who look at, operate and protect this installation. Each migration creates them, "
        "and leaves what somebody changed. Put people into them in the admin (Users)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--restore", action="store_true", help="give them again what somebody took from them")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["restore"]:
            create_groups(restore=True)
        found = {group.name: group for group in Group.objects.filter(name__in=GROUPS)}
        rows: list[dict[str, Any]] = []
        for name in GROUPS:
            group = found.get(name)
            changing = [] if group is None else group.permissions.exclude(codename__startswith="view_")
            rows.append(
                {
                    "group": name,
                    "exists": group is not None,
                    "people": 0 if group is None else group.user_set.count(),
                    "may_change": sorted(one.codename for one in changing),
                }
            )
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        print_table(
            self.stdout,
            ("group", "people", "besides viewing"),
            [(row["group"], row["people"], ", ".join(row["may_change"]) or "nothing") for row in rows],
            empty="",
        )
