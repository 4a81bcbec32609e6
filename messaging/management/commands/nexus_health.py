"""``manage.py nexus_health``: whether this installation works."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from messaging.web.health import system


class Command(BaseCommand):
    help = "Say whether the database, the broker and the relay work. The exit code is 0 when all do, otherwise 1."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON, as /health/ gives it to staff")

    def handle(self, *args: Any, **options: Any) -> None:
        report = system.report()
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict(), indent=2))
        else:
            for name, finding in report.findings.items():
                style = self.style.SUCCESS if finding.ok else self.style.ERROR
                word = style(f"{'ok' if finding.ok else 'FAILING':<8}")
                self.stdout.write(f"{name:<10} {word} {finding.latency * 1000:6.0f} ms  {finding.detail}")
        if not report.ok:
            sys.exit(1)
