"""``nexus_rules quarantine``: its arguments, and what they do."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from messaging.core.errors import NexusError
from messaging.core.ids import message_id_of
from messaging.management.acting import shell_actor
from messaging.models import Verdict
from messaging.operators import quarantine
from messaging.operators.acts import perform

MAX_LISTED = 100


def operator() -> str:
    """Who runs the command, for what is kept of it."""
    return shell_actor().name


def add_quarantine(actions: Any) -> None:
    """Add the sub-commands to those of ``nexus_rules``."""
    parser: CommandParser = actions.add_parser("quarantine", help="what waits for a person")
    deeds = parser.add_subparsers(dest="deed", required=True, metavar="list|release|reject")
    listing = deeds.add_parser("list", help="what waits, the longest first")
    listing.add_argument("--limit", type=int, default=MAX_LISTED, help="at most so many (%(default)s)")
    for name, text in (("release", "have it handled, in its position"), ("reject", "make it a dead letter")):
        deed = deeds.add_parser(name, help=text)
        deed.add_argument("verdicts", type=int, nargs="+", metavar="VERDICT", help="its number in the list")
        deed.add_argument("--reason", default="", help="kept with the verdict")
        deed.add_argument("--json", action="store_true", help="for programs")
    listing.add_argument("--json", action="store_true", help="for programs")


def decide(options: dict[str, Any]) -> tuple[Any, list[str], int]:
    """Do what is asked.

    Returns:
        What programs get, what people get, and how many verdicts could not be decided about.
    """
    if options["deed"] == "list":
        rows = [_data(verdict) for verdict in quarantine.waiting()[: max(0, options["limit"])]]
        lines = [
            "{verdict}  {created_at}  {agent} #{position}  {rule}: {reason} ({pointer})".format(**row) for row in rows
        ]
        return rows, lines or ["Nothing waits."], 0
    told: list[dict[str, Any]] = []
    for number in options["verdicts"]:
        try:
            told.append({"verdict": number, "done": True, "detail": _do(options["deed"], number, options["reason"])})
        except NexusError as error:
            told.append({"verdict": number, "done": False, "detail": str(error)})
    done = {"release": "released", "reject": "rejected"}[options["deed"]]
    lines = [f"{one['verdict']}: {one['detail'] or done}" for one in told]
    return told, lines, sum(not one["done"] for one in told)


def _do(deed: str, number: int, reason: str) -> str:
    def do() -> str:
        if deed == "release":
            return quarantine.release(number, user=operator(), note=reason)
        quarantine.reject(number, user=operator(), note=reason)
        return ""

    return perform(shell_actor(), deed, Verdict, number, do, reason=reason)


def _data(verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.pk,
        "created_at": verdict.created_at.isoformat(timespec="seconds"),
        "message": str(message_id_of(verdict.delivery_id)),
        "workflow": str(verdict.delivery.workflow_id),
        "agent": verdict.delivery.agent,
        "position": verdict.delivery.position,
        "state": verdict.delivery.state,
        "rule": verdict.rule,
        "origin": verdict.origin,
        "reason": verdict.reason,
        "pointer": verdict.pointer,
    }
