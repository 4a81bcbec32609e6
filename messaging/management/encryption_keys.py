"""What ``nexus_keys`` says of encryption keys, and does with them."""

from __future__ import annotations

import threading
from typing import Any

from messaging.models import EncryptionKey, KeyState
from messaging.security.encryption import changing
from messaging.security.encryption.keys import know


def encryption_keys() -> list[dict[str, Any]]:
    """Every key, for programs."""
    return [
        {
            "kid": row.kid,
            "state": row.state,
            "algorithm": row.algorithm,
            "created": row.created_at.isoformat(timespec="seconds"),
            "problem": know(row).problem,
        }
        for row in EncryptionKey.objects.order_by("created_at")
    ]


def line_of(key: dict[str, Any]) -> str:
    """A key, for people."""
    problem = f"  PROBLEM: {key['problem']}" if key["problem"] else ""
    return f"{key['kid']}  {key['state']:<8} {key['algorithm']:<8} encrypts data  since {key['created']}{problem}"


def retire(kid: str, who: str) -> str | None:
    """Retire an encryption key; None where the name is none's."""
    if changing.find_key(kid) is None:
        return None
    changing.retire(kid, who=who)
    return f"{kid} encrypts nothing more, and opens what it encrypted. Make another one: nexus_keys rotate --encryption"


def revoke(kid: str, who: str, *, wait: float) -> str | None:
    """Revoke an encryption key, with another one in its place; None where the name is none's.

    Args:
        kid: its name.
        who: for the audit.
        wait: seconds until all processes have noticed the other one.
    """
    row = changing.find_key(kid)
    if row is None:
        return None
    told = ""
    if row.state == KeyState.ACTIVE:
        told = f"From now on: {changing.rotate(who=who, expected=kid)}. "
        threading.Event().wait(wait)
    changing.revoke(kid, who=who)
    return f"{told}{kid} is revoked. What it encrypted is not handled any more: dead letters say so."
