"""``manage.py nexus_access``: look at the access policy, try a draft, and change it."""

from __future__ import annotations

import argparse
import getpass
import json
import re
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.db import Error as DatabaseError
from django.utils import timezone

from messaging.core.errors import AccessPolicyError, EnvelopeError
from messaging.core.names import check_agent_name, check_type_name
from messaging.models import Agent
from messaging.security.access import store
from messaging.security.access.changes import compare
from messaging.security.access.compiling import DecisionTable
from messaging.security.access.decision import AccessRequest
from messaging.security.access.drawing import draw
from messaging.security.access.explaining import explain
from messaging.security.access.graph import named_agents, reach
from messaging.security.access.linting import lint
from messaging.security.access.policy import Policy
from messaging.security.access.reading import read_file
from messaging.security.access.traffic import logged
from messaging.security.access.what_if import what_if
from messaging.security.access.writing import policy_data, policy_yaml

MAX_MESSAGES = 1_000_000
EXAMPLES = """
examples:
  manage.py nexus_access explain clerk ledger order.placed     why is this allowed, or refused?
  manage.py nexus_access check access.yaml                     is this file a sound policy?
  manage.py nexus_access what-if access.yaml --since 24h       what would it have changed since yesterday?
  manage.py nexus_access import access.yaml --dry-run          what would it change in the policy?
  manage.py nexus_access import access.yaml                    make it the policy that holds
  manage.py nexus_access export access.yaml                    write the policy that holds
  manage.py nexus_access graph --svg reach.svg                 draw who can reach whom
"""
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _age(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,5})([mhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no period; write it like 30m, 24h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no moment; write 2027-01-31T12:00:00Z") from None
    return moment if moment.utcoffset() is not None else timezone.make_aware(moment)


class _HelpFormatter(DjangoHelpFormatter):
    """Leaves text of several lines as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class Command(BaseCommand):
    help = (
        "Who may send what to whom: explain a decision, try a draft on logged messages, see who can reach whom, and "
        "check, export and import policies. The exit code is 1 for a refusal (explain), a difference (what-if --fail) "
        "or a problem."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, **{**kwargs, "epilog": EXAMPLES, "formatter_class": _HelpFormatter}
        )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(
            dest="action", required=True, metavar="explain|what-if|graph|check|export|import"
        )
        explaining = actions.add_parser("explain", help="say why a message is allowed or refused")
        explaining.add_argument("sender")
        explaining.add_argument("recipient", help="an agent; one member of the group for a group message")
        explaining.add_argument("type", help="of the message")
        explaining.add_argument("--group", default="", help="that the message is addressed to")
        explaining.add_argument("--workflow", type=UUID, help="id of the workflow that it belongs to")
        explaining.add_argument("--at", type=_moment, help="decide as at this moment (now)")
        trying = actions.add_parser("what-if", help="decide logged messages by a draft")
        trying.add_argument("draft", help="YAML or JSON file")
        trying.add_argument("--since", type=_age, default="24h", help="how far back: 30m, 24h, 7d (24h)")
        trying.add_argument("--limit", type=int, default=100_000, help="that many messages at most (100000)")
        trying.add_argument("--fail", action="store_true", help="exit code 1 when something would be refused")
        drawing = actions.add_parser("graph", help="show who can reach whom")
        drawing.add_argument("--svg", metavar="FILE", help="draw it into this file")
        drawing.add_argument("--type", default="", help="for this message type only")
        drawing.add_argument("--agent", action="append", default=[], help="only these agents; repeat it")
        checking = actions.add_parser("check", help="check a file, or the policy that holds")
        checking.add_argument("file", nargs="?", help="YAML or JSON file")
        exporting = actions.add_parser("export", help="write the policy that holds as YAML")
        exporting.add_argument("file", nargs="?", help="instead of the standard output")
        importing = actions.add_parser("import", help="make a file the policy that holds")
        importing.add_argument("file", help="YAML or JSON file")
        importing.add_argument("--dry-run", action="store_true", help="only say what would change")
        for action in (explaining, drawing):
            action.add_argument("--policy", metavar="FILE", help="this one instead of the policy that holds")
        for action in (explaining, trying, drawing, checking, exporting, importing):
            action.add_argument("--json", action="store_true", help="answer in JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        actions: dict[str, Callable[[dict[str, Any]], int]] = {
            "explain": self._explain,
            "what-if": self._what_if,
            "graph": self._graph,
            "check": self._check,
            "export": self._export,
            "import": self._import,
        }
        try:
            code = actions[options["action"]](options)
        except DatabaseError as error:
            raise CommandError(f"The database failed: {error}") from error
        except (AccessPolicyError, EnvelopeError) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{error.filename}: cannot be written: {error.strerror}") from None
        if code:
            sys.exit(code)

    def _explain(self, options: dict[str, Any]) -> int:
        check_agent_name(options["sender"], "sender")
        check_agent_name(options["recipient"], "recipient")
        check_type_name(options["type"], "type")
        request = AccessRequest(
            sender=options["sender"],
            recipient=options["recipient"],
            type=options["type"],
            at=options["at"] or timezone.now(),
            group=options["group"],
            workflow=options["workflow"],
        )
        found = explain(DecisionTable(self._policy(options["policy"])), request)
        self._say(options, found.data(), found.lines())
        return 0 if found.decision.allowed else 1

    def _what_if(self, options: dict[str, Any]) -> int:
        if not 1 <= options["limit"] <= MAX_MESSAGES:
            raise CommandError(f"--limit: expected a number from 1 to {MAX_MESSAGES}.")
        draft = DecisionTable(read_file(options["draft"]))
        traffic = logged(timezone.now() - options["since"], options["limit"])
        found = what_if(store.current(), draft, traffic)
        self._say(options, found.data(), found.lines())
        return 1 if options["fail"] and found.refused else 0

    def _graph(self, options: dict[str, Any]) -> int:
        policy = self._policy(options["policy"])
        if options["type"]:
            check_type_name(options["type"], "type")
        for name in options["agent"]:
            check_agent_name(name, "--agent")
        agents = sorted(set(options["agent"])) or sorted({*self._agents(), *named_agents(policy)})
        found = reach(policy, agents, timezone.now(), type=options["type"])
        if options["svg"]:
            Path(options["svg"]).write_text(draw(found), encoding="utf-8")
        lines = [
            f"{edge.sender} → {edge.recipient}: {', '.join(edge.types)}{' (at times)' if edge.conditional else ''}"
            for edge in found.edges
        ]
        self._say(options, found.data(), lines or ["Nobody can reach anybody."])
        return 0

    def _check(self, options: dict[str, Any]) -> int:
        policy = self._policy(options["file"])
        DecisionTable(policy)
        doubts = lint(policy, timezone.now(), self._agents())
        words = f"Sound: {len(policy.roles)} roles, {len(policy.teams)} teams, {len(policy.grants)} grants."
        self._say(options, {"sound": True, "doubts": doubts}, [words, *(f"Doubtful: {doubt}" for doubt in doubts)])
        return 0

    def _export(self, options: dict[str, Any]) -> int:
        policy = store.load_policy()
        text = json.dumps(policy_data(policy), indent=2) + "\n" if options["json"] else policy_yaml(policy)
        if options["file"]:
            Path(options["file"]).write_text(text, encoding="utf-8")
        else:
            self.stdout.write(text, ending="")
        return 0

    def _import(self, options: dict[str, Any]) -> int:
        policy = read_file(options["file"])
        changes = compare(store.load_policy(), policy)
        if not options["dry_run"]:
            store.save_policy(policy, f"{getpass.getuser()} (command line)")
        data = [{"kind": one.kind, "name": one.name, "before": one.before, "after": one.after} for one in changes]
        done = "Would change" if options["dry_run"] else "Changed"
        self._say(options, data, [*map(str, changes), f"{done}: {len(changes)}."])
        return 0

    def _policy(self, file: str | None) -> Policy:
        return read_file(file) if file else store.load_policy()

    def _agents(self) -> list[str]:
        return list(Agent.objects.order_by("name").values_list("name", flat=True))

    def _say(self, options: dict[str, Any], data: Any, lines: list[str]) -> None:
        self.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) if options["json"] else "\n".join(lines))
