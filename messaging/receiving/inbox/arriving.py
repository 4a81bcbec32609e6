"""What the inbox asks before anything is looked up in the log: who says this, and whether they may.

The signature comes first: nothing of a body is parsed whose sender is not proven.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.utils import timezone

from messaging.brokers import ReceivedMessage
from messaging.conf import get_settings
from messaging.core.describing import name_of, safe_repr
from messaging.core.envelope import CONTENT_TYPE
from messaging.core.errors import BadSignature, EnvelopeError, NotAccepted
from messaging.core.foreign_event import ForeignEvent, parse_foreign_event
from messaging.core.outcome import Outcome
from messaging.gate.passage import Stop
from messaging.models import DeadReason
from messaging.security.signatures import jws
from messaging.security.signatures.foreign import KnownSender, find_senders
from messaging.security.signatures.keys import KeyElsewhere

logger = logging.getLogger("nexus.inbox")

CLOCK_SLACK = timedelta(minutes=5)
"""How far a program's clock may be ahead of ours."""


@dataclass(slots=True)
class Arrival:
    """An event whose sender is proven.

    Args:
        message: as the broker handed it out.
        signature: over its body.
        sender: whose signature it is.
        event: what it says.
        digest: of its body.
    """

    message: ReceivedMessage
    signature: str
    sender: KnownSender
    event: ForeignEvent
    digest: str

    @property
    def key(self) -> tuple[str, str]:
        """What makes two arrivals the same event."""
        return self.sender.name, self.event.id


def refusal(reason: DeadReason, detail: str) -> Stop:
    """Why something goes no further."""
    return Stop(Outcome.REJECTED, reason, detail)


def check_arrivals(messages: Sequence[ReceivedMessage]) -> list[Arrival | Stop]:
    """Verify what came.

    Raises:
        KeyElsewhere: this process lacks the master key that says whether a sender is registered. Try again later.
        django.db.Error: the database failed.
    """
    claims = [_claim(message) for message in messages]
    named = {claim.key for claim in claims if isinstance(claim, jws.Header)}
    senders = find_senders(named) if named else {}
    now = timezone.now()
    return [
        claim if isinstance(claim, Stop) else _check(message, senders, now)
        for message, claim in zip(messages, claims, strict=True)
    ]


def signature_of(message: ReceivedMessage) -> str:
    """The signature beside a body; empty where there is none."""
    signature = message.headers.get("signature")
    return signature if isinstance(signature, str) else ""


def refuse_unless_current(sender: KnownSender) -> None:
    """Refuse what a sender says that is revoked, or whose registration is not ours.

    Raises:
        KeyElsewhere: this process cannot tell.
        BadSignature: says why.
    """
    if sender.problem:
        raise (KeyElsewhere if sender.elsewhere else BadSignature)(
            f"The registration of {sender.name!r} cannot be used: {sender.problem}."
        )
    if sender.revoked:
        raise BadSignature(f"The program {sender.name!r} is revoked. If it is legitimate, register a new key of it.")


def _claim(message: ReceivedMessage) -> jws.Header | Stop:
    """Who a message claims to come from, as far as it is one at all."""
    if message.unreadable:
        return refusal(DeadReason.INVALID_ENVELOPE, f"It cannot be decoded: {message.unreadable}")
    if message.content_type != CONTENT_TYPE:
        shown = safe_repr(message.content_type)[:200]
        return refusal(DeadReason.INVALID_ENVELOPE, f"Content type {shown}: {CONTENT_TYPE!r} is expected.")
    limit = get_settings().max_message_bytes
    if len(message.body) > limit:
        return refusal(DeadReason.INVALID_ENVELOPE, f"It has {len(message.body)} bytes; at most {limit} are allowed.")
    signature = signature_of(message)
    if not signature:
        return refusal(DeadReason.NOT_AUTHENTIC, "It has no signature: a detached JWS in the header 'signature'.")
    try:
        return jws.read(signature)
    except BadSignature as error:
        return refusal(DeadReason.NOT_AUTHENTIC, str(error))


def _check(message: ReceivedMessage, senders: Mapping[str, KnownSender], now: datetime) -> Arrival | Stop:
    try:
        return _verify(message, senders, now)
    except KeyElsewhere:
        raise
    except BadSignature as error:
        return refusal(DeadReason.NOT_AUTHENTIC, str(error))
    except EnvelopeError as error:
        return refusal(DeadReason.INVALID_ENVELOPE, str(error))
    except NotAccepted as error:
        return refusal(DeadReason.NOT_ACCEPTED, str(error))
    except Exception as error:  # checks fail closed, and stop nobody else's messages
        logger.exception("A check of an event from outside failed.")
        return refusal(
            DeadReason.CHECK_FAILED, f"Its check raised {name_of(error)}; the relay's log has the traceback."
        )


def _verify(message: ReceivedMessage, senders: Mapping[str, KnownSender], now: datetime) -> Arrival:
    signature = signature_of(message)
    header = jws.verify(signature, message.body, lambda kid: senders[kid].part if kid in senders else None)
    sender = senders[header.key]
    refuse_unless_current(sender)
    if header.tree:
        raise BadSignature("It is signed together with others ('cty'); programs outside sign each event by itself.")
    if header.to:
        raise BadSignature("It is signed as a group's message of an installation ('to'); programs outside sign none.")
    event = parse_foreign_event(message.body, max_bytes=get_settings().max_message_bytes)
    if not sender.may_speak_for(event.source):
        raise BadSignature(f"The program {sender.name!r} may not speak for {event.source!r}.")
    _check_times(event, now)
    return Arrival(message, signature, sender, event, sha256(message.body).hexdigest())


def _check_times(event: ForeignEvent, now: datetime) -> None:
    """An event that came before is known for ``dedup_ttl``: an older one could have been stored and forgotten."""
    oldest = now - timedelta(seconds=get_settings().dedup_ttl)
    if not oldest <= event.time <= now + CLOCK_SLACK:
        raise NotAccepted(
            f"Its time is {event.time.isoformat()}; it is {now.isoformat(timespec='seconds')} here. What is taken was "
            f"made at most {timedelta(seconds=get_settings().dedup_ttl)} ago (NEXUS_DEDUP_TTL) and not in the future."
        )
    if event.expires_at is not None and event.expires_at <= now:
        raise NotAccepted(f"It expired at {event.expires_at.isoformat()}, before it arrived.")
