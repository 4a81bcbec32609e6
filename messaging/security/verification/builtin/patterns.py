"""patterns, secrets: what stands in a message that must not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messaging.core.errors import ContentRulesError
from messaging.security.content.data import pattern_rule
from messaging.security.content.matching import PatternSet
from messaging.security.content.sanitizing import Sanitizer
from messaging.security.content.settings import load_settings, placed
from messaging.security.verification.rules import verification_rule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction

_PATTERN = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "regex": {"type": "string"},
        "keywords": {"type": "array", "items": {"type": "string"}},
        "entropy": {"type": "number"},
        "unless": {"type": "array", "items": {"type": "string"}},
        "description": {"type": "string"},
    },
    "required": ["id", "regex"],
    "additionalProperties": False,
}


def _pattern_set(settings: Mapping[str, Any]) -> PatternSet:
    rules = [pattern_rule(entry, "") for entry in placed(settings["patterns"], "patterns").value]
    if len({rule.name for rule in rules}) < len(rules):
        raise ContentRulesError("two patterns have one id", path="patterns")
    return PatternSet(rules)


@verification_rule(
    "patterns",
    version=1,
    may=[VerdictAction.FLAG],
    schema={
        "type": "object",
        "properties": {"patterns": {"type": "array", "items": _PATTERN, "maxItems": 500}},
        "required": ["patterns"],
        "additionalProperties": False,
    },
    defaults={"patterns": []},
    prepare=_pattern_set,
)
def patterns(subject: VerificationSubject, found_by: PatternSet) -> Objection | None:
    """An operator's own patterns, in RE2's syntax."""
    for pointer, text in subject.texts:
        for match in found_by.find(text.encode("utf-8", "replace").decode()):
            return Objection(VerdictAction.FLAG, f"matches the pattern {match.rule!r}", pointer, kind=match.rule)
    return None


def _secret_finder(settings: Mapping[str, Any]) -> Sanitizer:
    return Sanitizer(load_settings({"secrets": "redact", "personal": dict.fromkeys(settings["personal"], "redact")}))


def _without_secrets(subject: VerificationSubject, finder: Sanitizer) -> Any:
    return finder.clean(subject.type, subject.data).data


@verification_rule(
    "secrets",
    version=1,
    may=[VerdictAction.SANITIZE],
    schema={
        "type": "object",
        "properties": {"personal": {"type": "array", "items": {"type": "string"}}},
        "additionalProperties": False,
    },
    defaults={"personal": []},
    prepare=_secret_finder,
    clean=_without_secrets,
)
def secrets(subject: VerificationSubject, finder: Sanitizer) -> Objection | None:
    """Secrets, and the kinds of personal data that the settings name; the handler gets a view without them."""
    changes = [one for one in finder.clean(subject.type, subject.data).changes if "/" in one.rule]
    if not changes:
        return None
    # The change's pointer leads into the cleaned data; where a key was cleaned too, it is not there.
    pointer = changes[0].pointer if subject.has(changes[0].pointer) else ""
    return Objection(VerdictAction.SANITIZE, f"carries {changes[0].rule}", pointer, kind=changes[0].rule)
