"""``manage.py nexus_top``: what every agent does just now, like ``top``."""

from __future__ import annotations

import json
import time
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from messaging.management.arguments import whole_number
from messaging.management.tables import age, cell, make_table, print_table
from messaging.observing.load import AgentLoad, agent_loads

HEAD = ("agent", "handler", "backlog", "waiting", "held", "at work", "oldest", "in/s", "handled/s", "failed", "dead")
EXAMPLES = """examples:
  manage.py nexus_top                      on a terminal: refreshed every two seconds, Ctrl-C ends it
  manage.py nexus_top --once --window 300  once, rates over the last five minutes
  manage.py nexus_top --once --json        for programs
"""


class Command(BaseCommand):
    help = "Show what waits for each agent, since when, and how fast it comes and goes; the longest backlog first."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--interval", type=whole_number, default=2, help="seconds between two looks (2)")
        parser.add_argument("--window", type=whole_number, default=60, help="seconds over which rates count (60)")
        parser.add_argument("--limit", type=whole_number, default=30, help="that many agents at most (30)")
        parser.add_argument("--once", action="store_true", help="print once and end")
        parser.add_argument("--json", action="store_true", help="print JSON, once")

    def handle(self, *args: Any, **options: Any) -> None:
        window, limit = options["window"], options["limit"]
        with suppress(KeyboardInterrupt):
            try:
                if options["json"]:
                    self.stdout.write(json.dumps([_as_dict(load, window) for load in _look(window, limit)], indent=2))
                elif options["once"] or not self.stdout.isatty():
                    rows = [_row(load, window) for load in _look(window, limit)]
                    print_table(self.stdout, HEAD, rows, empty="No agent has registered yet.")
                else:
                    self._watch(window, limit, options["interval"])
            except DatabaseError as error:
                raise CommandError(f"The database failed: {error}") from error

    def _watch(self, window: int, limit: int, interval: int) -> None:
        with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live:
            while True:
                loads = _look(window, limit)
                total = sum(load.backlog for load in loads)
                title = f"{total} deliveries wait, rates over {window} s, every {interval} s; Ctrl-C ends it"
                live.update(
                    Group(Text(title, style="dim"), make_table(HEAD, [_row(load, window) for load in loads])),
                    refresh=True,
                )
                time.sleep(interval)


def _look(window: int, limit: int) -> Sequence[AgentLoad]:
    return agent_loads(timedelta(seconds=window))[:limit]


def _row(load: AgentLoad, window: int) -> list[Any]:
    return [
        cell(load.agent + (" (paused)" if load.paused else ""), style="yellow" if load.paused else ""),
        load.kind or "program",
        load.backlog,
        load.waiting,
        load.held,
        load.at_work,
        age(load.oldest),
        cell(f"{load.received / window:.1f}"),
        cell(f"{load.handled / window:.1f}"),
        load.retries,
        cell(load.dead, style="bold red" if load.dead else ""),
    ]


def _as_dict(load: AgentLoad, window: int) -> dict[str, Any]:
    return {
        "agent": load.agent,
        "handler": load.kind or "program",
        "paused": load.paused,
        "backlog": load.backlog,
        "waiting": load.waiting,
        "held": load.held,
        "at_work": load.at_work,
        "oldest": load.oldest.isoformat() if load.oldest else None,
        "received_per_second": round(load.received / window, 3),
        "handled_per_second": round(load.handled / window, 3),
        "failed_attempts": load.retries,
        "dead_letters": load.dead,
    }
