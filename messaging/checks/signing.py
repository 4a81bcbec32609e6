"""Checks of signatures: do the workers agree, and may this one begin to enforce?"""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import Error as DatabaseError

from messaging.checks.settings import readable_settings
from messaging.models import Message, SigningMode, SigningState
from messaging.security.signatures.agreement import Disagreement, disagreements
from messaging.security.signatures.keys import wanted_mode

SHOWN = 5


def check_agreement(**_: Any) -> list[CheckMessage]:
    """E024, W009: no worker is at work whose messages this one would refuse, or that has another mode."""
    if readable_settings() is None:
        return []
    try:
        wanted = wanted_mode()
        found = disagreements(wanted)
        state = SigningState.objects.filter(pk=1).first()
        begins = wanted is SigningMode.ENFORCE and (state is None or state.mode != SigningMode.ENFORCE)
        begins = begins and Message.objects.order_by("pk").values_list("pk").first() is not None
    except DatabaseError:  # what reads the tables says so
        return []
    if not found:
        return []
    blocking = [one for one in found if one.blocks] if begins else []
    if blocking:
        return [
            Error(
                f"Enforcing signatures may not begin yet: {_words(blocking)}",
                hint="Everywhere NEXUS_SIGNING=sign, then report, then enforce: manage.py nexus_keys preflight.",
                id="nexus.E024",
            )
        ]
    return [
        CheckWarning(
            f"Workers disagree about signatures: {_words(found)}",
            hint="Give every process the same NEXUS_SIGNING and the keys it needs: manage.py nexus_keys preflight.",
            id="nexus.W009",
        )
    ]


def _words(found: list[Disagreement]) -> str:
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(str(one) for one in found[:SHOWN]) + more
