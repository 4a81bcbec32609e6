"""parse: the envelope's bytes become an envelope."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.conf import get_settings
from messaging.core.describing import safe_repr
from messaging.core.envelope import CONTENT_TYPE, parse_envelope
from messaging.core.errors import EnvelopeError
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, Stop
from messaging.models import DeadReason


def parse(passages: Sequence[Passage]) -> None:
    """Parse every envelope."""
    limit = get_settings().max_message_bytes
    for passage in passages:
        received = passage.received
        if received is not None and received.content_type != CONTENT_TYPE:
            _stop(passage, f"Content type {safe_repr(received.content_type)[:200]}: {CONTENT_TYPE!r} is expected.")
            continue
        try:
            passage.envelope = parse_envelope(passage.body, max_bytes=limit)
        except EnvelopeError as error:
            _stop(passage, str(error))


def _stop(passage: Passage, detail: str) -> None:
    passage.stop = Stop(Outcome.DEAD, DeadReason.INVALID_ENVELOPE, detail)
