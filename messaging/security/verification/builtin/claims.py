"""claims: what an agent says it knows, without saying whence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messaging.security.content.matching import compile_regex
from messaging.security.verification.folding import sentences
from messaging.security.verification.rules import verification_rule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction

_CLAIM = compile_regex(
    r"(?i)\b(?:studies|research|experts?|scientists?|statistics|surveys?|sources|data|evidence)\s+(?:have\s+|has\s+)?"
    r"(?:shows?|shown|proves?|proven|says?|suggests?|confirms?|confirmed|agree|indicates?|found)\b"
    r"|\b(?:it is|it's) (?:well[- ]known|proven|a (?:proven |known )?fact|widely (?:known|accepted))\b"
    r"|\b\d{1,3}(?:\.\d+)?\s?(?:%|percent|per cent) of (?:all |the )?[a-z]+\b"
    r"|\bi (?:have )?(?:verified|checked|tested|confirmed|ensured)\b"
)
_EVIDENCE = compile_regex(
    r"(?i)https?://|\bdoi:|\barxiv\b|\bisbn\b|\[[0-9]{1,3}\]|\[\^|\([A-Z][^()]{1,60},? (?:19|20)\d\d[a-z]?\)"
    r"|\baccording to\b"
    r"|\bas (?:shown|reported|measured) (?:in|by)\b|\bsee (?:section|table|figure|file|line|the)\b|```|\bexit code\b"
)


@verification_rule(
    "claims",
    version=1,
    may=[VerdictAction.FLAG],
    schema={
        "type": "object",
        "properties": {
            "claims": {"type": "integer", "minimum": 1},
            "evidence_fields": {"type": "array", "items": {"type": "string"}},
        },
        "additionalProperties": False,
    },
    defaults={"claims": 1, "evidence_fields": ["evidence", "sources", "citations", "references"]},
)
def claims(subject: VerificationSubject, settings: Mapping[str, Any]) -> Objection | None:
    """Sentences that call upon knowledge (studies, percentages, "I have verified"), in data that cite nothing."""
    data = subject.data
    if isinstance(data, dict) and any(data.get(name) for name in settings["evidence_fields"]):
        return None
    for pointer, text in subject.texts:
        clean = text.encode("utf-8", "replace").decode()
        if _CLAIM.search(clean) is None or _EVIDENCE.search(clean) is not None:
            continue
        count = sum(_CLAIM.search(sentence) is not None for sentence in sentences(clean))
        if count >= settings["claims"]:
            return Objection(VerdictAction.FLAG, f"{count} claims without evidence", pointer, kind="claim")
    return None
