"""What a worker decides for a delivery. Each outcome has exactly one durable action in ``messaging.receiving``."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    PROCESSED = "processed"  # handled; effects, outgoing messages and counters committed together
    DUPLICATE = "duplicate"  # was handled before: nothing to do
    HELD = "held"  # came before its predecessor or its workflow is stopped: waits in the log
    QUARANTINED = "quarantined"  # verification stopped it: waits in its position for a person
    LEASED = "leased"  # a leased handler took it
    RETRY = "retry"  # failed for now: due again later
    DEAD = "dead"  # failed for good: a dead letter
    CANCELLED = "cancelled"  # its workflow takes no more messages
    EXPIRED = "expired"  # came after its expiry time
    REJECTED = "rejected"  # no delivery of the log: to the dead-letter queue as it is
