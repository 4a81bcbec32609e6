"""The verifier of this installation.

``NEXUS_VERIFICATION_RULES`` says where its rules are: nothing judges messages while it is empty, ``default`` stands for
the rules that come with Nexus, ``database`` for the newest version that operators stored; anything else is a YAML file.
"""

from __future__ import annotations

import functools
import logging
import threading
from pathlib import Path
from time import monotonic

from django.core.signals import setting_changed

from messaging.conf import get_settings
from messaging.core.errors import ContentRulesError
from messaging.models import RuleSet
from messaging.security.verification.judging import Verifier
from messaging.security.verification.plugins import installed_rules
from messaging.security.verification.settings import (
    DEFAULTS,
    VerificationSettings,
    load_verification,
    parse_verification,
    read_verification,
)

logger = logging.getLogger("nexus.verification")

BUILT_IN, DATABASE = "default", "database"
LOOK_EVERY = 2.0
"""Seconds after which the database is asked again whether somebody stored other rules."""


def load_installed(path: str | Path = "") -> VerificationSettings:
    """The rules of a file, or those that ``NEXUS_VERIFICATION_RULES`` names, or the ones that come with Nexus.

    Raises:
        ContentRulesError: a file or a plug-in cannot be read, or something in it cannot be.
        django.db.Error: they are in the database, and it failed.
    """
    chosen = str(path) or get_settings().verification_rules
    if chosen == DATABASE and not path:
        newest = RuleSet.objects.order_by("-pk").first()
        return VerificationSettings() if newest is None else parse_installed(newest.text, f"rule set {newest.pk}")
    if chosen in ("", BUILT_IN):
        return load_verification(DEFAULTS, installed_rules())
    return read_verification(chosen, installed_rules())


def parse_installed(text: str, source: str = "") -> VerificationSettings:
    """Rules of YAML, with the plug-ins of this installation.

    Raises:
        ContentRulesError: something in it cannot be; names source, place and line.
    """
    return parse_verification(text, installed_rules(), source)


@functools.cache
def get_verifier() -> Verifier:
    """The verifier of this process; made once, for rules may remember what they saw.

    Raises:
        ContentRulesError: as ``load_installed``.
    """
    return Verifier(load_installed())


class _StoredRules:
    """The newest rules of the database, looked for every few seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Look with the next call."""
        self._verifier: Verifier | None = None
        self._version: int | None = None
        self._looked = float("-inf")

    def verifier(self) -> Verifier:
        """What judges by them.

        Raises:
            ContentRulesError: they cannot be read here, and never were. Otherwise the ones from before stay.
            django.db.Error: the database failed.
        """
        with self._lock:
            if self._verifier is not None and monotonic() - self._looked <= LOOK_EVERY:
                return self._verifier
            newest = RuleSet.objects.order_by("-pk").values_list("pk", flat=True).first()
            if self._verifier is None or newest != self._version:
                self._verifier = self._read(self._verifier)
                self._version = newest
            self._looked = monotonic()
            return self._verifier

    @staticmethod
    def _read(before: Verifier | None) -> Verifier:
        try:
            settings = load_installed()
        except ContentRulesError as error:
            if before is None:
                raise
            logger.error("Newer rules cannot be read here; those from before stay: %s", error)
            return before
        return before if before is not None and before.digest == settings.digest else Verifier(settings)


stored_rules = _StoredRules()


def verifier_in_force() -> Verifier | None:
    """What judges messages now; None where nothing does.

    Raises:
        ContentRulesError: its rules cannot be read.
        django.db.Error: they are in the database, and it failed.
    """
    chosen = get_settings().verification_rules
    if not chosen:
        return None
    return stored_rules.verifier() if chosen == DATABASE else get_verifier()


def _forget(*, setting: str, **_: object) -> None:
    if setting == "NEXUS":
        get_verifier.cache_clear()
        stored_rules.forget()


setting_changed.connect(_forget)
