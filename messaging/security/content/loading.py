"""The sanitizer of this installation."""

from __future__ import annotations

import functools

from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac

from messaging.conf import get_settings
from messaging.security.content.sanitizing import Sanitizer
from messaging.security.content.settings import ContentSettings, read_settings


@functools.cache
def get_sanitizer() -> Sanitizer:
    """The sanitizer with the rules of ``NEXUS_CONTENT_RULES``, or the ones that come with Nexus; made once.

    Raises:
        ContentRulesError: the file cannot be read, or something in it cannot be.
    """
    path = get_settings().content_rules
    settings = read_settings(path) if path else ContentSettings()
    return Sanitizer(settings, salted_hmac("nexus.content", "digest").digest())


def _forget(*, setting: str, **_: object) -> None:
    if setting in ("NEXUS", "SECRET_KEY"):
        get_sanitizer.cache_clear()


setting_changed.connect(_forget)
