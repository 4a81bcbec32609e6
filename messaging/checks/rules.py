"""Check of the files of rules: while one cannot be read, nothing is sent or handled."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error

from messaging.checks.settings import readable_settings
from messaging.core.errors import ContentRulesError
from messaging.security.content.settings import read_settings
from messaging.security.verification.loading import DATABASE, load_installed


def check_rules(**_: Any) -> list[CheckMessage]:
    """E021: the rules that the settings name can work. Those in the database were checked when they were stored."""
    settings = readable_settings()
    if settings is None:
        return []
    problems = []
    if settings.content_rules:
        try:
            read_settings(settings.content_rules)
        except ContentRulesError as error:
            problems.append(("NEXUS_CONTENT_RULES", error))
    if settings.verification_rules not in ("", DATABASE):
        try:
            load_installed()
        except ContentRulesError as error:
            problems.append(("NEXUS_VERIFICATION_RULES", error))
    return [
        Error(f"{name}: {error}", hint="Correct it; docs/content.md has all of it.", id="nexus.E021")
        for name, error in problems
    ]
