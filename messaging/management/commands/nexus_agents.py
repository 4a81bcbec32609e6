"""``manage.py nexus_agents``: list, pause and resume agents."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError

from messaging.core.errors import NexusError
from messaging.directory.pausing import pause_agent, resume_agent
from messaging.management.acting import shell_actor
from messaging.models import Agent, AgentSetting
from messaging.operators.acts import perform


class Command(BaseCommand):
    help = (
        "List agents, or pause or resume some. What comes for a paused agent waits in the log and goes on in order. "
        "The exit code is 1 when one could not be changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|pause|resume")
        listing = actions.add_parser("list", help="list agents by name, with who paused them and why")
        listing.add_argument("--paused", action="store_true", help="only those that are paused")
        pausing = actions.add_parser("pause", help="let agents take nothing more; handlers that run end normally")
        pausing.add_argument("--reason", default="", help="for whoever looks at it later")
        resuming = actions.add_parser("resume", help="let paused agents go on, in order")
        for action in (pausing, resuming):
            action.add_argument("names", nargs="+", metavar="NAME", help="names of agents")
        for action in (listing, pausing, resuming):
            action.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["action"] == "list":
                self._list(only_paused=options["paused"], as_json=options["json"])
            else:
                self._change(options["names"], self._action(options), as_json=options["json"])
        except DatabaseError as error:
            raise CommandError(f"The database failed: {error}") from error

    def _action(self, options: dict[str, Any]) -> Callable[[str], str]:
        actor = shell_actor()

        def pause(name: str) -> str:
            def do() -> str:
                pause_agent(name, reason=options["reason"], user=str(actor))
                return ""

            perform(actor, "pause", Agent, name, do, reason=options["reason"])
            return "is paused."

        def resume(name: str) -> str:
            waiting = 0

            def do() -> str:
                nonlocal waiting
                waiting = resume_agent(name, user=str(actor))
                return ""

            perform(actor, "resume", Agent, name, do)
            return f"goes on; mailboxes that were waiting: {waiting}."

        return pause if options["action"] == "pause" else resume

    def _list(self, *, only_paused: bool, as_json: bool) -> None:
        settings = {setting.agent: setting for setting in AgentSetting.objects.filter(paused=True)}
        found = [_describe(agent, settings.pop(agent.name, None)) for agent in Agent.objects.order_by("name")]
        found += [_describe(Agent(name=name, kind="gone"), setting) for name, setting in sorted(settings.items())]
        found = [row for row in found if row["paused"] or not only_paused]
        if as_json:
            self.stdout.write(json.dumps(found, indent=2))
            return
        for row in found:
            note = ": ".join(filter(None, (row["paused_by"], row["reason"])))
            paused = "paused" if row["paused"] else ""
            self.stdout.write(f"{row['agent']:<30} {row['kind']:<13} {paused:<6} {note}".rstrip())

    def _change(self, names: list[str], change: Callable[[str], str], *, as_json: bool) -> None:
        results: list[dict[str, Any]] = []
        for name in dict.fromkeys(names):
            try:
                results.append({"agent": name, "ok": True, "detail": change(name)})
            except NexusError as error:
                results.append({"agent": name, "ok": False, "detail": str(error)})
        if as_json:
            self.stdout.write(json.dumps(results, indent=2))
        else:
            for result in results:
                if result["ok"]:
                    self.stdout.write(f"{result['agent']} {result['detail']}")
                else:
                    self.stderr.write(result["detail"])
        if not all(result["ok"] for result in results):
            sys.exit(1)


def _describe(agent: Agent, setting: AgentSetting | None) -> dict[str, Any]:
    """An agent as JSON. ``setting`` is that of a paused one."""
    return {
        "agent": agent.name,
        "kind": agent.kind or "program",
        "paused": setting is not None,
        "paused_by": setting.changed_by if setting else "",
        "paused_at": setting.changed_at.isoformat() if setting and setting.changed_at else None,
        "reason": setting.reason if setting else "",
        "description": agent.description,
    }
