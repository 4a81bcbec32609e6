"""Local delivery: what a handler sends to an agent of this worker is handled here next, without the broker.

It is in the log before it is kept here, PENDING like all that was stored and not confirmed yet: when this process
dies, the relay publishes it once ``NEXUS_PUBLISH_GRACE`` is over. So nothing depends on this memory but time.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from messaging.core.registry import HandlerKind, registry
from messaging.log import StoredDelivery
from messaging.receiving.transactional.calling import expected_seconds

MAX_SECONDS = 0.05
"""What the handlers of all that is kept may take together, by what their agents usually take: anything longer goes
through the broker, from which an idle worker takes it at once."""


class LocalDeliveries:
    """Deliveries that wait for this consumer's next turn.

    Args:
        limit: how many at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[StoredDelivery] = []
        self._seconds = 0.0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, deliveries: Sequence[StoredDelivery]) -> list[StoredDelivery]:
        """Keep what can be handled here at once; return the others, which are to be published.

        A workflow's deliveries stay together: of two for one mailbox the second would come early elsewhere.
        """
        workflows: dict[UUID, list[StoredDelivery]] = {}
        for stored in deliveries:
            workflows.setdefault(stored.workflow_id, []).append(stored)
        others: list[StoredDelivery] = []
        for group in workflows.values():
            seconds = _expected(group)
            if seconds is None or self._seconds + seconds > MAX_SECONDS or len(self._kept) + len(group) > self._limit:
                others += group
            else:
                self._kept += group
                self._seconds += seconds
        return others

    def take(self) -> list[StoredDelivery]:
        """Take everything out."""
        taken, self._kept, self._seconds = self._kept, [], 0.0
        return taken


def _expected(group: Sequence[StoredDelivery]) -> float | None:
    """How long the handlers of these take together; None where nobody knows, or one of them is not to be kept."""
    seconds = 0.0
    for stored in group:
        usual = usual_seconds(stored)
        if usual is None:
            return None
        seconds += usual
    return seconds


def usual_seconds(stored: StoredDelivery) -> float | None:
    """How long handling a delivery here usually takes; None where nobody knows, or this is no place for it."""
    spec = registry.get(stored.next_for) if stored.next_for else None
    if spec is None or spec.kind is not HandlerKind.TRANSACTIONAL:
        return None
    return expected_seconds(stored.next_for)
