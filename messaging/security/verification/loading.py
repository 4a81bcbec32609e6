"""The verifier of this installation."""

from __future__ import annotations

import functools
from pathlib import Path

from django.core.signals import setting_changed

from messaging.conf import get_settings
from messaging.security.verification.judging import Verifier
from messaging.security.verification.plugins import installed_rules
from messaging.security.verification.settings import (
    DEFAULTS,
    VerificationSettings,
    load_verification,
    read_verification,
)


def load_installed(path: str | Path = "") -> VerificationSettings:
    """The rules of a file, or of ``NEXUS_VERIFICATION_RULES``, or the ones that come with Nexus.

    Raises:
        ContentRulesError: a file or a plug-in cannot be read, or something in it cannot be.
    """
    chosen = str(path) or get_settings().verification_rules
    return read_verification(chosen, installed_rules()) if chosen else load_verification(DEFAULTS, installed_rules())


@functools.cache
def get_verifier() -> Verifier:
    """The verifier of this process; made once, for rules may remember what they saw.

    Raises:
        ContentRulesError: as ``load_installed``.
    """
    return Verifier(load_installed())


def _forget(*, setting: str, **_: object) -> None:
    if setting == "NEXUS":
        get_verifier.cache_clear()


setting_changed.connect(_forget)
