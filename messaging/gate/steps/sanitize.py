"""sanitize: what a message carries is cleaned before it is numbered and signed, or may not be sent."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from messaging.core.errors import ContentRefused
from messaging.gate.draft import Draft
from messaging.security.content.changes import ContentChange
from messaging.security.content.loading import get_sanitizer

logger = logging.getLogger("nexus.content")


def sanitize(drafts: Sequence[Draft], ground: object = None) -> None:
    """Clean the data of every message; each change is logged with rule, place and digest, never the text.

    Raises:
        ContentRefused: says which rules refuse it, and where.
        ContentRulesError: the installation's rules cannot be loaded.
    """
    sanitizer = get_sanitizer()
    all_cleaned = sanitizer.clean_all([(draft.outgoing.type, draft.outgoing.data) for draft in drafts])
    for draft, cleaned in zip(drafts, all_cleaned, strict=True):
        outgoing = draft.outgoing
        for change in (*cleaned.changes, *cleaned.refusals):
            _log(change, draft)
        if cleaned.refusals:
            raise ContentRefused(outgoing.type, tuple(str(refusal) for refusal in cleaned.refusals))
        if cleaned.data is not outgoing.data:
            draft.outgoing = replace(outgoing, data=cleaned.data)


def _log(change: ContentChange, draft: Draft) -> None:
    logger.warning(
        "Content rule %s: %s at %r in a message of type %s from %s in workflow %s (digest %s).",
        change.rule,
        change.treatment.value,
        change.pointer,
        draft.outgoing.type,
        draft.outgoing.source,
        draft.outgoing.workflow_id,
        change.digest or "none",
    )
