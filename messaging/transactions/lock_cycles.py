"""Sagas that wait for each other's semantic locks: who gives way.

What a saga waits for stands in its state, and who has it in the locks: no table of waits is kept, so none can be
wrong after a kill. Of a cycle, the saga that started last gives way: every member comes to the same answer, whichever
of them looks, so one gives way and not two.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from messaging.transactions.hosting import SagaHost, SagaRecord

MAX_FOLLOWED = 100
"""Sagas that are looked at for one answer; a longer cycle ends by the steps' timeouts."""


def resources_waited_for(record: SagaRecord) -> list[str]:
    """What a saga's steps wait for, as far as it can be named."""
    state = record.state
    found: list[str] = []
    for step in record.plan.steps.values():
        if state.steps[step.name].state != "locked":
            continue
        for template in step.locks:
            try:
                found.append(step.resource(template, state.input, state.results))
            except ValueError:  # it fails when it looks next
                continue
    return found


def cycle_to_leave(saga: UUID, resources: Sequence[str], host: SagaHost) -> list[UUID]:
    """The cycle of sagas that wait for each other which this one has to give up; empty where it may wait.

    Args:
        saga: who wants something that another has.
        resources: what it wants.
        host: knows the holders and what they wait for.

    Returns:
        the sagas, each waiting for the next and the last for this one, which is the first and the youngest.
    """
    seen: set[UUID] = set()
    paths: list[tuple[list[UUID], Sequence[str]]] = [([saga], resources)]
    while paths and len(seen) < MAX_FOLLOWED:
        path, wanted = paths.pop()
        for resource in wanted:
            holder = host.holder(resource)
            if holder is None or holder.saga == path[-1]:
                continue
            if holder.saga == saga:
                if saga == max(path):
                    return path
                continue
            if holder.saga in seen:
                continue
            seen.add(holder.saga)
            record = host.load(holder.saga)
            if record is not None:
                paths.append(([*path, holder.saga], resources_waited_for(record)))
    return []
