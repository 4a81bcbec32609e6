"""What a worker decided for one delivery, and what applying such decisions leads to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage
from messaging.log import StoredDelivery
from messaging.models import DeadReason

NO_DELIVERY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a delivery was not handled.

    Args:
        reason: the kind, as the dead letter will say.
        error: class of the error, at most 200 characters.
        detail: its message and where it was raised; text that every database can store.
    """

    reason: DeadReason
    error: str
    detail: str


@dataclass(frozen=True, slots=True)
class Decision:
    """One delivery and its outcome.

    Args:
        outcome: decides what becomes durable (see ``messaging.outcomes``).
        delivery_id: of the delivery; ``NO_DELIVERY`` for a message that names none (REJECTED).
        agent: who was to handle it, for people.
        failure: RETRY, DEAD and REJECTED: why.
        available_at: RETRY: when it is due again; now when left out. LEASED: when the lease ends; after
            ``lease_seconds`` when left out.
        attempts: RETRY and DEAD: what its count of attempts becomes; unchanged when left out.
        lock_losses: RETRY: what its count of lost locks becomes; unchanged when left out.
        queue: RETRY: the queue that carries it from now on; unchanged when left out.
        lease: LEASED: the fencing token; RETRY and DEAD of a leased delivery: the token that must still hold.
        repeated: PROCESSED: its processed-ID row was there already, so no handler ran now.
        passage: REJECTED: the message itself.
    """

    outcome: Outcome
    delivery_id: UUID
    agent: str = ""
    failure: Failure | None = None
    available_at: datetime | None = None
    attempts: int | None = None
    lock_losses: int | None = None
    queue: str | None = None
    lease: UUID | None = None
    repeated: bool = False
    passage: Passage | None = None

    @property
    def counted_as(self) -> Outcome:
        """The outcome that statistics count: what was found handled is a duplicate."""
        return Outcome.DUPLICATE if self.repeated else self.outcome


@dataclass(slots=True)
class Applied:
    """What committed decisions lead to.

    Args:
        counts: how many deliveries had which outcome.
        publish: what is to be published now; the relay does it where nobody else does.
    """

    counts: Counter[Outcome] = field(default_factory=Counter)
    publish: list[StoredDelivery] = field(default_factory=list)

    def add(self, other: Applied) -> None:
        """Take in what further decisions led to."""
        self.counts.update(other.counts)
        self.publish += other.publish
