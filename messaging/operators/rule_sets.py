"""Versions of the verification rules' settings in the database."""

from __future__ import annotations

from messaging.core.describing import storable
from messaging.models import RuleSet
from messaging.security.verification.loading import parse_installed, stored_rules


def digest_of(text: str, source: str = "") -> str:
    """What verdicts would call rules by.

    Raises:
        ContentRulesError: they cannot be; names place and line.
    """
    return parse_installed(text, source).digest


def store(text: str, *, user: str = "", source: str = "") -> tuple[RuleSet, bool]:
    """Store rules as the newest version, unless they are what the newest says already.

    Args:
        text: YAML.
        user: who does so.
        source: what errors call it.

    Returns:
        The version, and whether it is new.

    Raises:
        ContentRulesError: they cannot be; nothing is stored.
    """
    digest = digest_of(text, source)
    newest = RuleSet.objects.order_by("-pk").first()
    if newest is not None and newest.text == text:
        return newest, False
    stored = RuleSet.objects.create(text=text, digest=digest, created_by=storable(user)[:150])
    stored_rules.forget()
    return stored, True
