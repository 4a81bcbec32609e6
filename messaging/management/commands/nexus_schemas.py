"""``manage.py nexus_schemas``: look at the schemas of message types, compare versions, export them."""

from __future__ import annotations

import sys
from argparse import RawDescriptionHelpFormatter
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error as DatabaseError
from django.utils import timezone

from messaging.core.errors import NexusError, SchemaError
from messaging.core.registry import registry as agents
from messaging.management import schemas as printing
from messaging.models import Compatibility
from messaging.security.schemas.asyncapi import asyncapi_document
from messaging.security.schemas.compatibility import compare_all
from messaging.security.schemas.loading import load_all_possible
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.reviewing import review
from messaging.security.schemas.traffic import deprecated_senders
from messaging.security.schemas.uri import SchemaKey, build_uri, parse_name

EXAMPLES = """\
examples:
  manage.py nexus_schemas list                       every type that has a schema
  manage.py nexus_schemas show order.placed          the newest version
  manage.py nexus_schemas show order.placed:1        one version
  manage.py nexus_schemas check                      is each one valid, and does it keep the versions before it?
  manage.py nexus_schemas check order.json           the same, with a file that is not installed yet
  manage.py nexus_schemas diff order.placed 1 2      what changed, and who reads whom, with a sample that breaks
  manage.py nexus_schemas export --output all.json   every schema, by its URI
  manage.py nexus_schemas export --asyncapi          an AsyncAPI 3 document of agents, types and schemas
"""


class Command(BaseCommand):
    help = "Look at the schemas of message types, compare versions, export them. The exit code is 1 after an error."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog, parser.formatter_class = EXAMPLES, RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|check|diff|export")
        listing = actions.add_parser("list", help="every type and version")
        listing.add_argument(
            "--days", type=int, default=7, help="how far back to look for who sends by a deprecated schema (default 7)"
        )
        showing = actions.add_parser("show", help="one schema")
        showing.add_argument("name", metavar="TYPE[:VERSION]", help="the newest version by default")
        checking = actions.add_parser("check", help="is every schema valid, and does it keep the versions before it?")
        checking.add_argument("files", nargs="*", type=Path, metavar="FILE", help="further schemas, not installed yet")
        diffing = actions.add_parser("diff", help="compare two versions of a type")
        diffing.add_argument("type", metavar="TYPE")
        diffing.add_argument("old", type=int, metavar="OLD", help="a version")
        diffing.add_argument("new", type=int, metavar="NEW", help="a later version")
        exporting = actions.add_parser("export", help="write all schemas as JSON")
        exporting.add_argument("--asyncapi", action="store_true", help="an AsyncAPI 3 document, with the agents")
        exporting.add_argument("--title", default="Nexus", help="names the installation in the AsyncAPI document")
        exporting.add_argument("--output", type=Path, metavar="FILE", help="write to a file instead of the screen")
        for action in (listing, showing, checking, diffing):
            action.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            registry, errors = load_all_possible(options.get("files", ()))
            if options["action"] == "check":
                self._check(registry, errors, options)
                return
            for error in errors:
                self.stderr.write(str(error))
            getattr(self, f"_{options['action']}")(registry, options)
        except NexusError as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(f"The database failed: {error}. Is it reachable, and migrated?") from error
        if errors:
            sys.exit(1)

    def _list(self, registry: SchemaRegistry, options: dict[str, Any]) -> None:
        senders = deprecated_senders(registry, timezone.now() - timedelta(days=options["days"]))
        rows = [printing.summary(found, list(agents), senders) for found in registry]
        self.stdout.write(printing.pretty(rows) if options["json"] else "\n".join(map(printing.line, rows)))

    def _show(self, registry: SchemaRegistry, options: dict[str, Any]) -> None:
        name = options["name"]
        key = parse_name(name)
        schema = registry.require(key.type, key.version if ":" in name else None)
        if not options["json"]:
            mark = ", deprecated" if schema.deprecated else ""
            self.stdout.write(f"{build_uri(*schema.key)}{mark}, from {schema.origin}")
        self.stdout.write(printing.pretty(schema.document))

    def _check(self, registry: SchemaRegistry, errors: list[SchemaError], options: dict[str, Any]) -> None:
        reviews = review(registry)
        broken = [item.error for item in reviews if item.error]
        told = [*map(str, errors), *broken]
        if options["json"]:
            self.stdout.write(
                printing.pretty({"errors": told, "schemas": [printing.review_data(item) for item in reviews]})
            )
        else:
            for text in told:
                self.stderr.write(text)
            self.stdout.write(f"{len(reviews)} schemas of {len(registry.types())} types, {len(told)} errors.")
        if told:
            sys.exit(1)

    def _diff(self, registry: SchemaRegistry, options: dict[str, Any]) -> None:
        old, new = SchemaKey(options["type"], options["old"]), SchemaKey(options["type"], options["new"])
        if old.version >= new.version:
            raise CommandError(f"diff: version {old.version} does not come before {new.version}. Name the older first.")
        for key in (old, new):
            registry.require(*key)
        documents = {key.version: registry.documents(key.type)[key.version] for key in (old, new)}
        found = compare_all(old.type, documents, new.version, Compatibility.FULL, registry.all_resources(old.type))
        if options["json"]:
            self.stdout.write(printing.pretty([printing.comparison_data(item) for item in found]))
            return
        self.stdout.write(printing.difference(registry, old, new) or "Both versions say the same.")
        for item in found:
            self.stdout.write(f"{item}.")

    def _export(self, registry: SchemaRegistry, options: dict[str, Any]) -> None:
        if options["asyncapi"]:
            exported = asyncapi_document(registry, agents, title=options["title"])
        else:
            exported = {build_uri(*found.key): found.document for found in registry}
        text = printing.pretty(exported)
        if options["output"] is None:
            self.stdout.write(text)
            return
        try:
            options["output"].write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{options['output']}: cannot be written: {error.strerror}.") from None
        self.stdout.write(f"{options['output']}: written.")
