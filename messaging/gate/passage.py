"""What passes the receiving gate: one delivery, received from the broker or read from the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from messaging.brokers import ReceivedMessage
from messaging.core.envelope import Envelope
from messaging.core.labels import NO_LABELS, Labels
from messaging.core.outcome import Outcome
from messaging.log import StoredDelivery
from messaging.models import DeadReason

SUSPECT_REDELIVERIES = 3
"""From this many re-sends by the relay on, a delivery is handled alone: something keeps it from being handled."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a passage goes no further.

    Args:
        outcome: DEAD: never; RETRY: later, because what the step needs is away; QUARANTINED: a person decides. It
            holds for a delivery that the log knows by the same bytes; anything else is REJECTED.
        reason: as the dead letter will say.
        detail: for the operator: what happened, to which object, what to do. Never a value of the message's data.
    """

    outcome: Outcome
    reason: DeadReason
    detail: str


@dataclass(slots=True)
class Passage:
    """One delivery on its way through the gate.

    Args:
        body: the envelope's bytes, as received or stored.
        signature: beside them.
        received: as the broker handed it out; None for what was read from the log.
        suspect: it may have killed a worker before, so it is handled alone.
        delivery_id: set by ``identify``, or known from the log.
        envelope: set by ``parse``.
        place: the agent and the position that the signature names; set by ``authenticate``, None where nothing does.
        keys: the token of the keys with which it was verified, where nobody has asked whether they are still the same;
            the transaction that handles it does. None otherwise.
        agent: whose delivery it is; set once its row was read.
        unjudged: verification has said nothing yet that is committed; set in a transaction, where nothing is judged.
        unclean: (rule, JSON pointer) of what the handler gets a cleaned view of; set by ``inspect``.
        remembered: labels of what that agent handled before in this workflow; set once its row was read.
        labels: what the message counts as; set by ``accept``.
        encrypted: the envelope as it was signed, where its data are encrypted; set by ``decrypt``, which puts the clear
            data into ``envelope``.
        clear: these as JSON.
        stop: set by the step that stopped it.
    """

    body: bytes
    signature: str
    received: ReceivedMessage | None
    suspect: bool = False
    delivery_id: UUID = field(init=False)
    envelope: Envelope = field(init=False)
    place: tuple[str, int] | None = None
    keys: UUID | None = None
    agent: str = ""
    unjudged: bool = False
    unclean: Sequence[tuple[str, str]] = ()
    remembered: Labels = NO_LABELS
    labels: Labels = NO_LABELS
    encrypted: Envelope | None = None
    clear: bytes = field(default=b"", repr=False)
    stop: Stop | None = None

    @property
    def known_id(self) -> UUID | None:
        """The delivery's id, or None where the gate stopped before it was known."""
        return getattr(self, "delivery_id", None)


def received_passage(received: ReceivedMessage) -> Passage:
    """A message that came from the broker; it enters at the gate's first step."""
    signature, redelivery = received.headers.get("signature"), received.headers.get("redelivery")
    return Passage(
        received.body,
        signature if isinstance(signature, str) else "",
        received,
        suspect=received.redelivered or (isinstance(redelivery, int) and redelivery >= SUSPECT_REDELIVERIES),
    )


def logged_passage(stored: StoredDelivery) -> Passage:
    """A delivery that was read from the log; it passes the same steps."""
    passage = Passage(stored.body, stored.signature, None)
    passage.delivery_id = stored.id
    return passage
