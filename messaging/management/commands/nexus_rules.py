"""``manage.py nexus_rules``: verification rules, their settings, and the quarantine."""

from __future__ import annotations

import json
from argparse import RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging.conf import get_settings
from messaging.core.errors import ContentRulesError
from messaging.management.quarantine import add_quarantine, decide, operator
from messaging.operators import rule_sets
from messaging.security.verification.judging import Verifier
from messaging.security.verification.loading import DATABASE, load_installed
from messaging.security.verification.measuring import measure_rules, read_labelled
from messaging.security.verification.plugins import installed_rules
from messaging.security.verification.settings import ChosenRule

EXAMPLES = """\
examples:
  manage.py nexus_rules list                          every rule, and which of them are on
  manage.py nexus_rules show prompt-injection         version, actions and the schema of its settings
  manage.py nexus_rules test mails.jsonl              recall and false positives on lines such as
                                                      {"text": "…", "label": "attack", "kind": "mail"}
  manage.py nexus_rules test mails.jsonl --rules draft.yaml --json
  manage.py nexus_rules load rules.yaml               the next version for NEXUS_VERIFICATION_RULES=database
  manage.py nexus_rules quarantine list
  manage.py nexus_rules quarantine release 12 13 --reason "harmless"
  manage.py nexus_rules quarantine reject 14 --reason "an order to pay"
"""


class Command(BaseCommand):
    help = "Look at the verification rules, measure and load them; decide about what is in the quarantine."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog, parser.formatter_class = EXAMPLES, RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|test|load|quarantine")
        listing = actions.add_parser("list", help="every rule, and which of them are on")
        showing = actions.add_parser("show", help="one rule")
        showing.add_argument("rule", help="its name")
        testing = actions.add_parser("test", help="recall and false positives on labelled texts")
        testing.add_argument("file", type=Path, metavar="FILE.jsonl", help='lines of {"text": …, "label": …}')
        loading = actions.add_parser("load", help="store a file as the newest version of the rules")
        loading.add_argument("file", type=Path, metavar="FILE.yaml")
        loading.add_argument("--json", action="store_true", help="for programs")
        add_quarantine(actions)
        for action in (listing, showing, testing):
            action.add_argument("--rules", default="", metavar="FILE", help="instead of NEXUS_VERIFICATION_RULES")
            action.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options)
        except ContentRulesError as error:
            raise CommandError(str(error)) from None

    def _list(self, options: dict[str, Any]) -> None:
        chosen = load_installed(options["rules"]).rules
        rows = [
            {
                "name": rule.name,
                "version": rule.version,
                "description": rule.description,
                "on": [_chosen_data(one) for one in chosen if one.rule is rule],
            }
            for rule in installed_rules().values()
        ]
        lines = [
            f"{'on ' if row['on'] else 'off'}  {row['name']} {row['version']}: {row['description']}" for row in rows
        ]
        self._say(options, rows, lines)

    def _show(self, options: dict[str, Any]) -> None:
        rule = installed_rules().get(options["rule"])
        if rule is None:
            raise CommandError(f"No rule is called {options['rule']!r}. Known: {', '.join(installed_rules())}.")
        data = {
            "name": rule.name,
            "version": rule.version,
            "description": rule.description,
            "may": sorted(rule.may),
            "defaults": dict(rule.defaults),
            "schema": dict(rule.schema),
            "on": [_chosen_data(one) for one in load_installed(options["rules"]).rules if one.rule is rule],
        }
        self._say(options, data, [f"{name}: {value}" for name, value in data.items()])

    def _load(self, options: dict[str, Any]) -> None:
        try:
            text = options["file"].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']}: cannot be read: {error}.") from None
        stored, new = rule_sets.store(text, user=operator(), source=str(options["file"]))
        lines = [f"{'Stored' if new else 'Already the newest'}: rule set {stored}."]
        if get_settings().verification_rules != DATABASE:
            lines.append(f"It judges nothing yet: set NEXUS_VERIFICATION_RULES={DATABASE}.")
        self._say(options, {"version": stored.pk, "digest": stored.digest, "new": new}, lines)

    def _quarantine(self, options: dict[str, Any]) -> None:
        data, lines, failed = decide(options)
        self._say(options, data, lines)
        if failed:
            raise CommandError(f"{failed} of {len(options['verdicts'])} could not be decided about.")

    def _test(self, options: dict[str, Any]) -> None:
        verifier = Verifier(load_installed(options["rules"]))
        try:
            with options["file"].open(encoding="utf-8") as lines:
                measured = measure_rules(verifier, read_labelled(lines, str(options["file"])))
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{options['file']}: cannot be read: {error}.") from None
        told = [_line("all rules", measured)]
        told += [_line(f"rule {name}", data) for name, data in measured["rules"].items()]
        told += [_line(f"kind {kind or '(none)'}", data) for kind, data in measured["kinds"].items()]
        if measured["failures"]:
            told.append(f"{measured['failures']} times a rule raised, hung or lied; this counts as an objection.")
        self._say(options, measured, told)

    def _say(self, options: dict[str, Any], data: Any, lines: list[str]) -> None:
        self.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) if options["json"] else "\n".join(lines))


def _chosen_data(chosen: ChosenRule) -> dict[str, Any]:
    return {
        "name": chosen.name,
        "action": chosen.action,
        "shadow": chosen.shadow,
        "time_limit": chosen.time_limit,
        "types": list(chosen.types),
        "senders": list(chosen.senders),
        "recipients": list(chosen.recipients),
        "teams": list(chosen.teams),
    }


def _line(name: str, data: dict[str, Any]) -> str:
    recall, wrong = ("-" if data[rate] is None else f"{data[rate]:.1%}" for rate in ("recall", "false_positive_rate"))
    return f"{name}: found {recall} of {data['attacks']} attacks, objected to {wrong} of {data['benign']} benign texts"
