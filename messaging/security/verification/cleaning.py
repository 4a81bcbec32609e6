"""The cleaned view of a message: what its handler gets beside the signed original."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from messaging.security.content.changes import escape_pointer
from messaging.security.verification.subject import LONG_KEY

Finding = tuple[str, str]
"""The rule's name in the settings, and the evidence's JSON pointer."""


def cleaned_view(data: Any, findings: Iterable[Finding], clean: Callable[[str, Any], Any]) -> Any:
    """A copy of data without what rules found.

    Args:
        data: of the message; it is not changed.
        findings: what they found.
        clean: takes a rule's name and data, and returns them as the rule cleans them.
    """
    view = copy.deepcopy(data)
    for rule, pointer in findings:
        cleaned = clean(rule, view)
        # A rule that knows no other way: the text that is its evidence goes, or every text.
        view = _without(view, pointer, "", f"[removed:{rule}]") if cleaned == view else cleaned
    return view


def _without(value: Any, evidence: str, here: str, mark: str) -> Any:
    """The value with the texts at or below a pointer replaced; a key that is evidence keeps its place."""
    if isinstance(value, str):
        return mark if here == evidence or here.startswith(f"{evidence}/") or not evidence else value
    if isinstance(value, dict):
        return {
            (mark if _is_evidence(key, evidence, here) else key): _without(
                item, evidence, f"{here}/{escape_pointer(key)}", mark
            )
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without(item, evidence, f"{here}/{number}", mark) for number, item in enumerate(value)]
    return value


def _is_evidence(key: str, evidence: str, here: str) -> bool:
    """Whether a key may be what a rule read: long ones are texts."""
    return len(key) >= LONG_KEY and f"{here}/{escape_pointer(key)}" == evidence
