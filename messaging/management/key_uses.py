"""The action ``uses`` of ``manage.py nexus_keys``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.utils import timezone

from messaging.management.arguments import whole_number
from messaging.models import SigningUse

MOST_HOURS = 100_000


def add_uses_action(actions: Any) -> None:
    """Let the command take it."""
    using = actions.add_parser("uses", help="how often each key signed, the latest hour first")
    using.add_argument("kid", nargs="?", default="", help="only this key")
    using.add_argument("--hours", type=whole_number, default=24, help="how far back (default 24)")
    using.add_argument("--json", action="store_true", help="for programs")


def uses_as_text(options: dict[str, Any]) -> str:
    """What the command prints."""
    rows = list(_rows(options["kid"], min(options["hours"], MOST_HOURS)))
    if options["json"]:
        return json.dumps(rows, indent=2)
    lines = ["{hour}  {kid}  {count:>9}  {signer} on {host}, last {last}".format(**row) for row in rows]
    return "\n".join(lines) or "No key has signed in this time."


def _rows(kid: str, hours: int) -> Iterator[dict[str, Any]]:
    uses = SigningUse.objects.filter(last_at__gte=timezone.now() - timedelta(hours=hours))
    for use in (uses.filter(kid=kid) if kid else uses).order_by("-hour", "kid", "host"):
        yield {
            "hour": use.hour.isoformat(timespec="minutes"),
            "kid": use.kid,
            "signer": use.signer,
            "host": use.host,
            "count": use.count,
            "first": use.first_at.isoformat(timespec="seconds"),
            "last": use.last_at.isoformat(timespec="seconds"),
        }
