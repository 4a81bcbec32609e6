"""``manage.py nexus_mcp``: an MCP server, for assistants of people and programs."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging.api import NexusError

TOKEN = "MCP_TOKEN"  # noqa: S105 - the name of a variable  # nosec B105


class Command(BaseCommand):
    help = (
        "Serves MCP over standard input and output: with the API token in the variable MCP_TOKEN, or with "
        "--operator as whoever runs this command. With --http each request brings a token of its own."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sender", metavar="AGENT", help="speak as this agent (the token's first; operator)")
        parser.add_argument("--operator", action="store_true", help="act as an operator, who may do everything")
        parser.add_argument("--http", metavar="[HOST:]PORT", help="streamable HTTP at /mcp (HOST: 127.0.0.1)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            identity, serving = import_module("nexus_api.mcp.identity"), import_module("nexus_api.mcp.server")
        except ModuleNotFoundError as error:
            raise CommandError(f"{error.name} is missing: pip install 'nexus-reliable-messaging[mcp]'.") from error
        secret, operator = os.environ.pop(TOKEN, ""), options["operator"]
        if options["http"]:
            if secret or operator:
                raise CommandError(f"--http takes neither --operator nor {TOKEN}: each request brings its own token.")
            host, port = _address(options["http"])
            server = serving.make_server(
                lambda: identity.caller_with(serving.bearer()),
                agent=options["sender"],
                address=f"http://{host}:{port}",
            )
            server.run("streamable-http", host=host, port=port, stateless_http=True, json_response=True)
            return
        if bool(secret) == operator:
            raise CommandError(f"Give a token in {TOKEN} (manage.py nexus_tokens create), or --operator; not both.")
        identify = identity.ShellOperator if operator else lambda: identity.caller_with(secret)
        try:
            identify().sender(options["sender"])
        except NexusError as error:
            raise CommandError(str(error)) from error
        serving.make_server(identify, agent=options["sender"]).run("stdio")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise CommandError(f"--http {text}: expected a port, or HOST:PORT.")
    return host or "127.0.0.1", int(port)
