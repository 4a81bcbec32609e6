"""What the sanitizer did, or would not let pass: said without the text."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

DIGEST_LENGTH = 16


class Treatment(StrEnum):
    """What is done with what a rule finds."""

    KEEP = "keep"
    REMOVE = "remove"
    REDACT = "redact"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class ContentChange:
    """One thing that a rule found.

    Args:
        rule: its name, such as ``"secret/github-token"``.
        pointer: RFC 6901, in the *cleaned* data, so that a secret in a key does not stand in it.
        treatment: what was done.
        digest: keyed, of what was found, so that the same find is recognised again and a short one cannot be guessed
            without the installation's key. Empty for limits.
        detail: numbers, for people; never the text.
    """

    rule: str
    pointer: str
    treatment: Treatment
    digest: str = ""
    detail: str = ""

    def __str__(self) -> str:
        words = f"{self.pointer or 'the data'}: {self.rule}"
        return f"{words} ({self.detail})" if self.detail else words


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The sanitizer's answer.

    Args:
        data: cleaned; the very same object where nothing was changed.
        changes: what was removed or redacted, or is to be kept and only told.
        refusals: because of which the message may not go on.
    """

    data: Any
    changes: tuple[ContentChange, ...] = ()
    refusals: tuple[ContentChange, ...] = ()


def digest_of(found: str, key: bytes) -> str:
    """A keyed digest of a text."""
    return hmac.digest(key or b"nexus", found.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:DIGEST_LENGTH]


def escape_pointer(key: str) -> str:
    """A key as it stands in a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
