"""What ``nexus_replay`` and ``nexus_discard`` have in common."""

from __future__ import annotations

import json
import sys
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.core.errors import NexusError
from messaging.management.acting import shell_actor
from messaging.management.arguments import whole_number
from messaging.models import DeadReason
from messaging.operators.acts import Actor
from messaging.operators.dead_letters import DeadLetterFilter, resolve_each

MAX_EXPLAINED = 20
PROGRESS_EVERY = 100


def add_choice(parser: CommandParser) -> None:
    """The options that say which dead letters are meant."""
    parser.add_argument("--agent", default="", help="those of this recipient")
    parser.add_argument("--type", default="", help="those of this message type")
    parser.add_argument("--workflow", type=UUID, help="those of this workflow")
    parser.add_argument("--reason", default="", choices=DeadReason.values, help="those that died of this")


def filter_from(options: dict[str, Any]) -> DeadLetterFilter:
    """The choice that those options make.

    Raises:
        EnvelopeError: one of them cannot be.
    """
    return DeadLetterFilter(
        agent=options["agent"],
        message_type=options["type"],
        workflow=options["workflow"],
        reason=options["reason"],
    )


class DeadLetterCommand(BaseCommand):
    """A command that resolves dead letters, named by id or found by filters."""

    verb = ""
    done = ""

    def resolve(self, identifier: int, actor: Actor, reason: str) -> None:
        """Resolve one dead letter."""
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "ids", nargs="*", type=int, metavar="ID", help="ids of dead letters, as the admin shows them"
        )
        add_choice(parser)
        parser.add_argument("--all", action="store_true", help="every open one")
        parser.add_argument("--because", default="", metavar="TEXT", help="kept in the audit")
        parser.add_argument("--limit", type=whole_number, help="that many at most, the oldest first")
        parser.add_argument("--dry-run", action="store_true", help="only say how many there are")
        parser.add_argument("--json", action="store_true", help="print JSON; needs --yes where it would ask")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._run(options)
        except DatabaseError as error:
            raise CommandError(
                f"The database failed: {error}\nWhat was {self.done} before stays so; run this again."
            ) from error

    def _run(self, options: dict[str, Any]) -> None:
        ids = self._chosen(options)
        if options["dry_run"]:
            found = {"would_be": self.done, "ids": ids}
            self.stdout.write(json.dumps(found) if options["json"] else f"Would be {self.done}: {len(ids)}.")
            return
        if not options["ids"] and ids and not options["yes"] and not self._confirmed(len(ids)):
            raise CommandError("Nothing was done.")
        if options["json"]:
            self._print_json(ids, options["because"])
        else:
            self._resolve_all(ids, options["because"])

    def _chosen(self, options: dict[str, Any]) -> list[int]:
        filtered = any(options[name] for name in ("agent", "type", "workflow", "reason"))
        ids: list[int] = list(dict.fromkeys(options["ids"]))
        if ids and (filtered or options["all"]):
            raise CommandError("Give either ids or filters, not both.")
        if ids:
            return ids[: options["limit"]]
        if not filtered and not options["all"]:
            raise CommandError(
                f"Say what to {self.verb}: ids, filters (--agent, --type, --workflow, --reason) or --all."
            )
        try:
            return filter_from(options).ids(options["limit"])
        except NexusError as error:
            raise CommandError(str(error)) from None

    def _confirmed(self, count: int) -> bool:
        if not sys.stdin.isatty():
            raise CommandError(f"Would be {self.done}: {count}. Nobody can be asked here: add --yes.")
        return input(f"{self.verb.capitalize()} {count} dead letters? [y/N] ").strip().lower() in ("y", "yes")

    def _print_json(self, ids: list[int], reason: str) -> None:
        actor = shell_actor()
        results = [
            {"dead_letter": identifier, "ok": not problem, "detail": problem or self.done}
            for identifier, problem in resolve_each(ids, lambda identifier: self.resolve(identifier, actor, reason))
        ]
        self.stdout.write(json.dumps(results, indent=2))
        if not all(result["ok"] for result in results):
            sys.exit(1)

    def _resolve_all(self, ids: list[int], reason: str) -> None:
        actor = shell_actor()
        failed = 0
        results = resolve_each(ids, lambda identifier: self.resolve(identifier, actor, reason))
        for number, (_, problem) in enumerate(results, 1):
            if problem:
                failed += 1
                if failed <= MAX_EXPLAINED:
                    self.stderr.write(problem)
            if number % PROGRESS_EVERY == 0 and number < len(ids):
                self.stdout.write(f"{number} of {len(ids)} …")
        self.stdout.write(f"{self.done.capitalize()}: {len(ids) - failed}, failed: {failed}.")
        if failed:
            sys.exit(1)
