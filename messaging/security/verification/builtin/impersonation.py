"""impersonation: text that poses as something that stands above the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import re2

from messaging.security.content.matching import compile_regex
from messaging.security.verification.rules import verification_rule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction

# What chat templates put between the turns, and headings that claim another speaker.
_TURNS = (
    r"<\|?(?:im_start|im_end|system|endoftext|eot_id|begin_of_text|start_header_id|end_header_id|assistant)\|>"
    r"|\[/?inst\]|<</?sys>>|</?(?:system|assistant|developer)(?:[ _-](?:prompt|message))?>"
)
_AUTHORITY = (
    r"(?m)^[ \t>*#-]{0,6}(?:message|notice|order|instructions?|announcement) from (?:the )?"
    r"(?:system|administrator|admin|operator|developers?|openai|anthropic|security team|nexus)\b"
)


class Poses(NamedTuple):
    """The expressions, each with what it is a sign of, and one for all of them, which settles most texts."""

    any: re2._Regexp[str]
    each: Sequence[tuple[str, re2._Regexp[str]]]


def _compile(settings: Mapping[str, Any]) -> Poses:
    found = [("turn", compile_regex(_TURNS)), ("authority", compile_regex(_AUTHORITY))]
    names = "|".join(re2.escape(name.casefold()) for name in settings["names"])
    if names:
        signed = (
            rf"(?m)^[ \t>*#\[(-]{{0,6}}(?:from:?[ \t]+)?({names})[\])*]{{0,3}}[ \t]*(?:\([^)\n]{{0,40}}\))?:[ \t]*\S"
        )
        claimed = rf"\b(?:i am|i'm|this is|speaking as|on behalf of) (?:the )?(?:agent )?({names})\b"
        found.append(("agent", compile_regex(f"{signed}|{claimed}")))
    together = re2.compile("|".join(f"(?:{expression.pattern})" for _, expression in found))
    return Poses(together, found)


@verification_rule(
    "impersonation",
    version=1,
    may=[VerdictAction.FLAG],
    schema={
        "type": "object",
        "properties": {"names": {"type": "array", "items": {"type": "string", "minLength": 2}, "maxItems": 200}},
        "additionalProperties": False,
    },
    defaults={"names": []},
    prepare=_compile,
)
def impersonation(subject: VerificationSubject, poses: Poses) -> Objection | None:
    """Marks of chat templates, notices of authorities, and turns of other agents (those that the settings name)."""
    for pointer, _, variants in subject.folded:
        for variant in variants:
            if poses.any.search(variant) is None:
                continue
            for kind, expression in poses.each:
                found = expression.search(variant)
                if found is not None and not (kind == "agent" and subject.sender in found.groups()):
                    return Objection(VerdictAction.FLAG, f"poses as {_WORDS[kind]}", pointer, kind=kind)
    return None


_WORDS = {"turn": "a turn of the chat's template", "authority": "an authority", "agent": "another agent"}
