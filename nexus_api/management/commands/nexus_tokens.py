"""``manage.py nexus_tokens``: tokens of the HTTP API."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from messaging.api import NexusError
from nexus_api.models import ApiToken, Visibility
from nexus_api.scopes import Scope
from nexus_api.tokens import create_token, revoke_token


class Command(BaseCommand):
    help = "Makes, lists and revokes the tokens with which programs use the HTTP API."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        creating = actions.add_parser("create", help="a new token; prints its secret, this once")
        creating.add_argument("name", help="what uses it")
        creating.add_argument("--owner", required=True, metavar="USER", help="it can never do more than this user")
        creating.add_argument("--scope", action="append", required=True, choices=list(Scope), help="repeat it")
        creating.add_argument("--sender", action="append", default=[], metavar="AGENT", help="may speak as; repeat it")
        creating.add_argument("--visibility", choices=Visibility.values, default=Visibility.OWN)
        creating.add_argument("--team", default="", help="with --visibility team")
        creating.add_argument("--rate", type=int, help="requests a minute (default: NEXUS_API_RATE)")
        creating.add_argument("--days", type=int, default=90, help="until it expires (default 90)")
        listing = actions.add_parser("list", help="all tokens, without their secrets")
        listing.add_argument("--json", action="store_true")
        actions.add_parser("revoke", help="accept one no more").add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['action']}")(options)
        except NexusError as error:
            raise CommandError(str(error)) from error

    def _create(self, options: dict[str, Any]) -> None:
        users = get_user_model()
        try:
            owner = users._default_manager.get_by_natural_key(options["owner"])
            life = timedelta(days=options["days"])
        except users.DoesNotExist:
            raise CommandError(f"There is no user {options['owner']!r}. See manage.py createsuperuser.") from None
        except OverflowError:
            raise CommandError(f"--days: {options['days']} are too many.") from None
        _, secret = create_token(
            name=options["name"],
            owner=owner,
            scopes=options["scope"],
            senders=options["sender"],
            visibility=options["visibility"],
            team=options["team"],
            rate=options["rate"],
            life=life,
        )
        self.stdout.write(secret)

    def _list(self, options: dict[str, Any]) -> None:
        rows = [
            {
                "name": token.name,
                "owner": token.owner.get_username(),
                "scopes": token.scopes,
                "senders": token.senders,
                "visibility": token.visibility,
                "team": token.team,
                "expires": token.expires_at.isoformat(timespec="seconds"),
                "last_used": token.last_used_at and token.last_used_at.isoformat(timespec="seconds"),
                "revoked": token.revoked_at and token.revoked_at.isoformat(timespec="seconds"),
            }
            for token in ApiToken.objects.select_related("owner").order_by("name")
        ]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        for row in rows:
            state = f"revoked {row['revoked']}" if row["revoked"] else f"until {row['expires']}"
            self.stdout.write(
                f"{row['name']}  of {row['owner']}  sees {row['visibility']} {row['team']}  {state}  "
                f"last used {row['last_used'] or 'never'}  {' '.join(row['scopes'])}"
            )
        if not rows:
            self.stdout.write("There is no token. See manage.py nexus_tokens create --help.")

    def _revoke(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"{revoke_token(options['name'])} is revoked.")
