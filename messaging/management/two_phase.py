"""``manage.py nexus_transactions in-doubt|resolve|restored``: prepared transactions that wait for their end."""

from __future__ import annotations

import getpass
import json
from typing import Any
from uuid import UUID

from django.core.management.base import OutputWrapper

from messaging.management.journal import write_journal
from messaging.models import JournalEntry, TwoPhaseRun
from messaging.transactions.database import as_lines
from messaging.transactions.two_phase import operating
from messaging.transactions.two_phase.naming import raise_epoch


def add_arguments(actions: Any) -> None:
    """Add the actions to those of the command."""
    listing = actions.add_parser(
        "in-doubt", help="list prepared transactions that wait for their end, the oldest first"
    )
    listing.add_argument("--json", action="store_true", help="as one JSON object")
    resolve = actions.add_parser("resolve", help="decide a transaction that is in doubt, for all its participants")
    resolve.add_argument("xid")
    decision = resolve.add_mutually_exclusive_group(required=True)
    decision.add_argument("--commit", action="store_true")
    decision.add_argument("--abort", action="store_true")
    resolve.add_argument("--reason", required=True, help="for the journal")
    actions.add_parser(
        "restored", help="say that files of the database were restored: nothing started before is presumed aborted"
    )


def run(stdout: OutputWrapper, options: dict[str, Any]) -> None:
    """Do what was asked.

    Raises:
        NexusError: it cannot be decided like that.
    """
    match options["action"]:
        case "in-doubt":
            _list(stdout, as_json=options["json"])
        case "resolve":
            actor = f"{getpass.getuser()} (command line)"
            done = operating.resolve(options["xid"], commit=options["commit"], reason=options["reason"], actor=actor)
            stdout.write(f"{done}: {done.status}. {done.reason}")
        case _:
            raise_epoch()
            stdout.write("What was started before now is left to you: see nexus_transactions in-doubt.")


def show(stdout: OutputWrapper, identifier: UUID) -> bool:
    """Show a run, its participants and its journal; False when there is none with that id."""
    run = TwoPhaseRun.objects.filter(pk=identifier).first()
    if run is None:
        return False
    stdout.write(f"{run.name}, two-phase commit: {run.status}  {run.reason}")
    for branch in run.branches.order_by("pk"):
        where = branch.database or branch.agent
        stdout.write(f"  {branch.name:<20} {branch.state:<10} {where:<20} {branch.reason}")
    write_journal(stdout, as_lines(JournalEntry.objects.filter(workflow_id=identifier).order_by("number")))
    return True


def _list(stdout: OutputWrapper, *, as_json: bool) -> None:
    listed, problems = operating.in_doubt()
    if as_json:
        stdout.write(json.dumps({"in_doubt": [each.data() for each in listed], "not_asked": problems}))
        return
    for each in listed:
        stdout.write(f"{each.xid}  {each.database}  {each.age:.0f} s  {each.status}  {each.name}")
    for problem in problems:
        stdout.write(f"not asked: {problem}")
    stdout.write(f"{len(listed)} in doubt.")
