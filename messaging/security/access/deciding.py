"""Deciding a batch, and counting the uses of grants that only let so many messages through."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from messaging.security.access.compiling import DecisionTable
from messaging.security.access.decision import AccessDecision, AccessRequest
from messaging.security.access.policy import Grant, Policy

Spend = Callable[[Grant, int], int]
"""Uses up as many uses of a grant as are wanted, or as there are left; returns how many."""


def decide_all(table: DecisionTable, requests: Sequence[AccessRequest], spend: Spend) -> list[AccessDecision]:
    """Decide requests, in their order.

    Grants are used up in the policy's order, each once: whoever locks their rows does so in one order and cannot
    deadlock with another batch. A request whose grant has no use left is decided anew without it.

    Args:
        table: of the policy.
        requests: the questions.
        spend: counts uses.
    """
    decisions = [table.decide(request) for request in requests]
    open_ = {number for number, request in enumerate(requests) if _counts(request, decisions[number])}
    used_up: set[str] = set()
    while open_:  # at most once for each grant: every turn settles one or uses it up
        grant = min((_grant(decisions[number]) for number in open_), key=lambda one: table.order[one.name])
        asking = [number for number in sorted(open_) if decisions[number].grant is grant]
        got = spend(grant, len(asking))
        open_.difference_update(asking)
        if got < len(asking):
            used_up.add(grant.name)
        for number in asking[got:]:
            decisions[number] = table.decide(requests[number], without=used_up)
            if _counts(requests[number], decisions[number]):
                open_.add(number)
    return decisions


def _counts(request: AccessRequest, decision: AccessDecision) -> bool:
    grant = decision.grant
    return request.counted and decision.allowed and grant is not None and grant.uses is not None


def _grant(decision: AccessDecision) -> Grant:
    if decision.grant is None:
        raise AssertionError("only what a grant allowed is counted")
    return decision.grant


class UsesInMemory:
    """Counts uses for a policy that is in no database: in one process, from the policy's numbers downwards."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}

    def spend(self, grant: Grant, wanted: int) -> int:
        """Use up as many uses as are wanted, or as there are left; return how many."""
        with self._lock:
            left = self._left.get(grant.name, grant.uses or 0)
            taken = min(left, wanted)
            self._left[grant.name] = left - taken
            return taken


def decider_in_memory(policy: Policy) -> Callable[[Sequence[AccessRequest]], list[AccessDecision]]:
    """What decides by a policy that is in no database.

    Raises:
        AccessPolicyError: the policy cannot work.
    """
    table, uses = DecisionTable(policy), UsesInMemory()
    return lambda requests: decide_all(table, requests, uses.spend)
