"""``manage.py nexus_health``: whether this installation works."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from messaging.observing.health import Finding
from messaging.observing.system import system


class Command(BaseCommand):
    help = (
        "Say whether the database, the broker and the relay work. The exit code is 0 when all do, 2 when all do and "
        "dead letters or parked workflows wait for a person, otherwise 1."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON, as /health/ gives it to staff")

    def handle(self, *args: Any, **options: Any) -> None:
        report = system.report()
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict(), indent=2))
        else:
            for name, finding in report.findings.items():
                style = self.style.ERROR if not finding.ok else self.style.SUCCESS
                word = style(f"{_word(finding):<8}")
                self.stdout.write(f"{name:<10} {word} {finding.latency * 1000:6.0f} ms  {finding.detail}")
        if report.status != "ok":
            sys.exit(2 if report.ok else 1)


def _word(finding: Finding) -> str:
    if finding.ok:
        return "degraded" if finding.degraded else "ok"
    return "FAILING"
