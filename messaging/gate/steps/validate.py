"""validate: the data follow the schema of their type."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from django.utils import timezone

from messaging.core.errors import SchemaError
from messaging.core.outcome import Outcome
from messaging.gate.draft import Draft, Ground
from messaging.gate.passage import Passage, Stop
from messaging.models import DeadReason
from messaging.security.schemas.current import installed_schemas
from messaging.security.schemas.deprecation import deprecated_uses
from messaging.security.schemas.uri import SchemaKey, read_uri, uri_of
from messaging.security.schemas.validation import SchemaCandidate, SchemaChecker, SchemaVerdict

logger = logging.getLogger("nexus.gate")

DEPLOY_TIME = timedelta(hours=1)
"""So long after it was sent, a message of a version that this process does not know yet waits for one that does."""


def validate_drafts(drafts: Sequence[Draft], ground: Ground) -> None:
    """Check what is to be sent against the newest version of its type, and note which one that is.

    Raises:
        SchemaViolation: says which type and version, where in the data, and what is expected there.
        SchemaError: the schemas cannot be read.
    """
    checker = ground.checker()
    verdicts = checker.check([SchemaCandidate(draft.outgoing.type, None, draft.outgoing.data) for draft in drafts])
    for draft, verdict in zip(drafts, verdicts, strict=True):
        if verdict.violation is not None:
            raise verdict.violation
        if verdict.schema is not None:
            draft.data_schema = uri_of(verdict.schema.key)
    deprecated_uses.note(
        (verdict.schema, draft.outgoing.source) for draft, verdict in zip(drafts, verdicts, strict=True)
    )


def validate(passages: Sequence[Passage]) -> None:
    """Check what came against the version that it names; without one, against the newest."""
    keys = [_key_of(passage) for passage in passages]
    going = [(passage, key) for passage, key in zip(passages, keys, strict=True) if passage.stop is None]
    try:
        checker = installed_schemas.checker()
        if any(_is_unknown(key, checker) for _, key in going):
            checker = installed_schemas.checker(look_again=True)
    except SchemaError as error:  # nothing is wrong with the messages: they wait until somebody has put it right
        logger.error("The schemas cannot be read, so nothing is handled: %s", error)
        for passage, _ in going:
            passage.stop = Stop(Outcome.RETRY, DeadReason.SCHEMA, f"The schemas cannot be read: {error}")
        return
    candidates = [
        SchemaCandidate(passage.envelope.type, None if key is None else key.version, passage.envelope.data)
        for passage, key in going
    ]
    for (passage, key), verdict in zip(going, checker.check(candidates), strict=True):
        if verdict.violation is not None:
            passage.stop = _stop(passage, verdict, unknown=_is_unknown(key, checker))


def _key_of(passage: Passage) -> SchemaKey | None:
    uri = passage.envelope.dataschema
    if uri is None:
        return None
    try:
        key = read_uri(uri)
    except SchemaError as error:
        passage.stop = Stop(Outcome.DEAD, DeadReason.SCHEMA, f"dataschema: {error}")
        return None
    if key.type != passage.envelope.type:
        detail = (
            f"dataschema: it names the type {key.type!r}, and the message is of the type {passage.envelope.type!r}."
        )
        passage.stop = Stop(Outcome.DEAD, DeadReason.SCHEMA, detail)
    return key


def _is_unknown(key: SchemaKey | None, checker: SchemaChecker) -> bool:
    return key is not None and not checker.registry.knows(key)


def _stop(passage: Passage, verdict: SchemaVerdict, *, unknown: bool) -> Stop:
    detail = str(verdict.violation)
    if unknown and timezone.now() - passage.envelope.time < DEPLOY_TIME:
        # Its sender was deployed before this worker. Another one may know the version, or this one after its restart.
        return Stop(Outcome.RETRY, DeadReason.SCHEMA, detail)
    return Stop(Outcome.DEAD, DeadReason.SCHEMA, detail)
