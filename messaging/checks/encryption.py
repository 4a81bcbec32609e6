"""Check of encryption: is there what it needs?"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.core.checks import CheckMessage, Error

from messaging.checks.settings import readable_settings


def check_encryption(**_: Any) -> list[CheckMessage]:
    """E026: types are to be encrypted, and the package that does so is there."""
    settings = readable_settings()
    if settings is None or not settings.types_to_encrypt or find_spec("cryptography") is not None:
        return []
    return [
        Error(
            "NEXUS_ENCRYPTED_TYPES names types, and the package cryptography is not installed: none could be sent.",
            hint="pip install 'nexus-reliable-messaging[encryption]'",
            id="nexus.E026",
        )
    ]
