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
from messaging.management.journal import write_journal
from messaging.models import OPEN_SAGAS, SagaRun, SagaStatus, TwoPhaseRun, TwoPhaseStatus
from messaging.sending.reliable_bus import ReliableCommunicationBus
from messaging.transactions.checkpoints import checkpoint_file, write_checkpoint
from messaging.transactions.known import known_sagas
from messaging.transactions.sagas import Sagas
from messaging.transactions.verifying import export_journal, verify_all

MAX_SHOWN = 20


class Command(BaseCommand):
    help = "List, show and operate on sagas, verify and export the journal, and decide what is in doubt."

    def add_arguments(self, parser: CommandParser) -> None:
        names = (
            "list|show|verify|export|cancel|retry|skip|force|approve|deny|signal|migrate|checkpoint"
            "|in-doubt|resolve|restored"
        )
        actions = parser.add_subparsers(dest="action", required=True, metavar=names)
        listing = actions.add_parser("list", help="list sagas, or two-phase commits, the newest first")
        statuses = sorted({*SagaStatus.values, *TwoPhaseStatus.values})
        listing.add_argument("--status", choices=statuses, help="only those with this status")
        listing.add_argument("--two-phase", action="store_true", help="two-phase commits")
        listing.add_argument("--limit", type=int, default=50, help="that many at most (50)")
        show = actions.add_parser("show", help="show the steps and the journal of a saga or a two-phase commit")
        show.add_argument("id", type=UUID)
        verify = actions.add_parser("verify", help="check that no journal was cut or altered")
        verify.add_argument("--against", type=Path, help="an earlier export: what it holds must still be there")
        verify.add_argument("--checkpoints", type=Path, help="signed ones; by default NEXUS_JOURNAL_CHECKPOINTS")
        actions.add_parser("checkpoint", help="append signed checkpoints to the file NEXUS_JOURNAL_CHECKPOINTS")
        export = actions.add_parser("export", help="append the whole journal to a file, a line of JSON for each entry")
        export.add_argument("file", type=Path)
        for name, text in (
            ("cancel", "undo what a saga has done"),
            ("force", "end a saga as it stands"),
            ("retry", "try a parked step again"),
            ("skip", "leave a parked step as it is, and go on"),
            ("approve", "say yes to a step that waits for a person"),
            ("deny", "say no to it: the saga compensates"),
        ):
            operation = actions.add_parser(name, help=text)
            operation.add_argument("id", type=UUID)
            if name in ("retry", "skip", "approve", "deny"):
                operation.add_argument("step")
            operation.add_argument("--reason", required=True, help="for the journal")
        signal = actions.add_parser("signal", help="tell a saga that something happened that it waits for, or will")
        signal.add_argument("id", type=UUID)
        signal.add_argument("name")
        signal.add_argument("--data", type=json.loads, default=None, help="JSON")
        migrate = actions.add_parser("migrate", help="move running sagas to another version of their definition")
        which = migrate.add_mutually_exclusive_group(required=True)
        which.add_argument("id", type=UUID, nargs="?")
        which.add_argument("--all", metavar="NAME", help="every open saga of that name")
        migrate.add_argument("--to", type=int, required=True, metavar="VERSION")
        migrate.add_argument("--reason", default="a new version", help="for the journal")
        migrate.add_argument(
            "--dry-run", action="store_true", help="only say which can be moved, and why others cannot"
        )

        two_phase.add_arguments(actions)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            match options["action"]:
                case "list":
                    self._list(options["status"], options["limit"], two_phase_commits=options["two_phase"])
                case "show":
                    self._show(options["id"])
                case "verify":
                    self._verify(options["against"], options["checkpoints"] or checkpoint_file())
                case "checkpoint":
                    self._checkpoint()
                case "export":
                    count = export_journal(options["file"])
                    self.stdout.write(f"{count} entries appended to {options['file']}.")
                case "signal":
                    Sagas(ReliableCommunicationBus()).signal(options["id"], options["name"], options["data"])
                    self.stdout.write(f"The signal was sent; see show {options['id']}.")
                case "migrate":
                    self._migrate(options)
                case "in-doubt" | "resolve" | "restored":
                    two_phase.run(self.stdout, options)
                case action:
                    self._operate(action, options)
        except (NexusError, DatabaseError, OSError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _list(self, status: str | None, limit: int, *, two_phase_commits: bool) -> None:
        if limit < 1:
            raise CommandError("--limit: expected a number above 0.")
        wanted = {"status": status} if status else {}
        if two_phase_commits:
            runs = TwoPhaseRun.objects.filter(**wanted).order_by("-pk")[:limit]
            rows = [(run.pk, run.status, run.name, run.reason) for run in runs]
        else:
            found = SagaRun.objects.filter(**wanted).order_by("-pk")[:limit]
            rows = [(saga.pk, saga.status, f"{saga.name} {saga.version}", saga.reason) for saga in found]
        for identifier, state, name, reason in rows:
            self.stdout.write(f"{identifier}  {state:<12}  {name}" + (f"  ({reason})" if reason else ""))

    def _show(self, identifier: UUID) -> None:
        if two_phase.show(self.stdout, identifier):
            return
        sagas = Sagas(ReliableCommunicationBus())
        view = sagas.status(identifier)
        self.stdout.write(f"{view.name}, version {view.version}: {view.status}  {view.reason}")
        for name, state in view.steps.items():
            late = f"after its end: {view.late[name]}" if name in view.late else ""
            self.stdout.write(f"  {name:<20} {state:<10} {late}{view.errors.get(name, '')}")
        write_journal(self.stdout, sagas.journal(identifier))

    def _verify(self, against: Path | None, checkpoints: Path | None) -> None:
        count, found = verify_all(against, checkpoints)
        if found:
            shown = [f"{saga}: {problem}" if saga else problem for saga, problem in found[:MAX_SHOWN]]
            raise CommandError("\n".join([*shown, f"{len(found)} problems in {count} journals."]))
        self.stdout.write(f"{count} journal{'' if count == 1 else 's'}, nothing wrong.")

    def _checkpoint(self) -> None:
        file = checkpoint_file()
        if file is None:
            raise CommandError("Set NEXUS_JOURNAL_CHECKPOINTS to a file, best on another machine.")
        self.stdout.write(f"{write_checkpoint(file)} journals written down in {file}.")

    def _migrate(self, options: dict[str, Any]) -> None:
        chosen = SagaRun.objects.filter(pk=options["id"])
        if options["all"]:
            chosen = SagaRun.objects.filter(name=options["all"], status__in=OPEN_SAGAS).exclude(version=options["to"])
        elif not chosen.exists():
            raise CommandError(f"There is no saga {options['id']}.")
        sagas, moved, stay = Sagas(ReliableCommunicationBus()), 0, 0
        for saga, name in chosen.order_by("pk").values_list("pk", "name").iterator(1_000):
            target = known_sagas.require(name, options["to"])
            problems = sagas.obstacles(saga, target)
            if problems:
                stay += 1
                self.stdout.write(f"{saga} stays: {'; '.join(problems)}.")
                continue
            if not options["dry_run"]:
                sagas.migrate(saga, target, options["reason"], actor=_actor())
            moved += 1
        verb = "can be moved" if options["dry_run"] else "told to move"
        self.stdout.write(f"{moved} {verb} to version {options['to']}, {stay} stay.")

    def _operate(self, action: str, options: dict[str, Any]) -> None:
        sagas, actor = Sagas(ReliableCommunicationBus()), _actor()
        steps = [options["step"]] if "step" in options else []
        getattr(sagas, action)(options["id"], *steps, options["reason"], actor=actor)
        self.stdout.write(f"{json.dumps(action)} was sent; see show {options['id']}.")


def _actor() -> str:
    return f"{getpass.getuser()} (command line)"
