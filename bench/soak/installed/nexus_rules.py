"""Verification rules of the soak: one refuses what is meant to be refused, one fails while a file says so."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from bench.soak.names import BRAKE_FILE, REFUSED_TEXT
from messaging.security.verification.rules import verification_rule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction

MOST = 60.0
"""Seconds that it hangs at most."""

_brake = Path(os.environ.get(BRAKE_FILE, os.devnull))


@verification_rule("soak-refused", version=1, may=[VerdictAction.REJECT])
def refused(subject: VerificationSubject, settings: Any) -> Objection | None:
    """Refuse a text that only messages have which are meant to be refused."""
    for pointer, text in subject.texts:
        if text == REFUSED_TEXT:
            return Objection(VerdictAction.REJECT, "the soak has it refused", pointer)
    return None


@verification_rule("soak-brake", version=1, may=[VerdictAction.FLAG])
def brake(subject: VerificationSubject, settings: Any) -> Objection | None:
    """Raise or hang while a file says so."""
    wanted = _wanted()
    if wanted == "raise":
        raise RuntimeError("the soak has this rule fail")
    for _ in range(int(MOST / 0.1) if wanted == "hang" else 0):
        if not _wanted():
            break
        threading.Event().wait(0.1)
    return None


def _wanted() -> str:
    try:
        return _brake.read_text()
    except OSError:
        return ""
