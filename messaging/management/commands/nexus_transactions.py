"""``manage.py nexus_transactions``: sagas, two-phase commits and their journal."""

from __future__ import annotations

import getpass
import json
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.core.errors import NexusError
from messaging.management import two_phase
from messaging.models import SagaRun, SagaStatus
from messaging.sending.reliable_bus import ReliableCommunicationBus
from messaging.transactions.sagas import Sagas
from messaging.transactions.verifying import export_journal, verify_all

MAX_SHOWN = 20


class Command(BaseCommand):
    help = "List, show and operate on sagas, verify and export the journal, and decide what is in doubt."

    def add_arguments(self, parser: CommandParser) -> None:
        names = "list|show|verify|export|cancel|retry|skip|force|in-doubt|resolve|restored"
        actions = parser.add_subparsers(dest="action", required=True, metavar=names)
        listing = actions.add_parser("list", help="list sagas, the newest first")
        listing.add_argument("--status", choices=SagaStatus.values, help="only those with this status")
        listing.add_argument("--limit", type=int, default=50, help="that many at most (50)")
        show = actions.add_parser("show", help="show a saga's steps and its journal")
        show.add_argument("id", type=UUID)
        verify = actions.add_parser("verify", help="check that no journal was cut or altered")
        verify.add_argument("--against", type=Path, help="an earlier export: what it holds must still be there")
        export = actions.add_parser("export", help="append the whole journal to a file, a line of JSON for each entry")
        export.add_argument("file", type=Path)
        for name, text in (
            ("cancel", "undo what a saga has done"),
            ("force", "end a saga as it stands"),
            ("retry", "try a parked step again"),
            ("skip", "leave a parked step as it is, and go on"),
        ):
            operation = actions.add_parser(name, help=text)
            operation.add_argument("id", type=UUID)
            if name in ("retry", "skip"):
                operation.add_argument("step")
            operation.add_argument("--reason", required=True, help="for the journal")

        two_phase.add_arguments(actions)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            match options["action"]:
                case "list":
                    self._list(options["status"], options["limit"])
                case "show":
                    self._show(options["id"])
                case "verify":
                    self._verify(options["against"])
                case "export":
                    count = export_journal(options["file"])
                    self.stdout.write(f"{count} entries appended to {options['file']}.")
                case "in-doubt" | "resolve" | "restored":
                    two_phase.run(self.stdout, options)
                case action:
                    self._operate(action, options)
        except (NexusError, DatabaseError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _list(self, status: str | None, limit: int) -> None:
        if limit < 1:
            raise CommandError("--limit: expected a number above 0.")
        found = SagaRun.objects.order_by("-pk")
        if status:
            found = found.filter(status=status)
        for saga in found[:limit]:
            reason = f"  ({saga.reason})" if saga.reason else ""
            self.stdout.write(f"{saga.pk}  {saga.status:<12}  {saga.name} {saga.version}{reason}")

    def _show(self, identifier: UUID) -> None:
        sagas = Sagas(ReliableCommunicationBus())
        view = sagas.status(identifier)
        self.stdout.write(f"{view.name}, version {view.version}: {view.status}  {view.reason}")
        for name, state in view.steps.items():
            self.stdout.write(f"  {name:<20} {state:<10} {view.errors.get(name, '')}")
        for line in sagas.journal(identifier):
            change = f"{line.before} -> {line.after}" if line.after else ""
            detail = "" if line.detail == "{}" else line.detail
            self.stdout.write(
                f"{line.number:>5}  {line.at:%Y-%m-%d %H:%M:%S.%f}  {line.event:<14} {line.step:<20} {change:<22} "
                f"{line.actor}  {detail}"
            )

    def _verify(self, against: Path | None) -> None:
        count, found = verify_all(against)
        if found:
            shown = [f"{saga}: {problem}" for saga, problem in found[:MAX_SHOWN]]
            raise CommandError("\n".join([*shown, f"{len(found)} problems in {count} sagas."]))
        self.stdout.write(f"{count} saga{'' if count == 1 else 's'}, nothing wrong.")

    def _operate(self, action: str, options: dict[str, Any]) -> None:
        sagas, actor = Sagas(ReliableCommunicationBus()), f"{getpass.getuser()} (command line)"
        steps = [options["step"]] if "step" in options else []
        getattr(sagas, action)(options["id"], *steps, options["reason"], actor=actor)
        self.stdout.write(f"{json.dumps(action)} was sent; see show {options['id']}.")
