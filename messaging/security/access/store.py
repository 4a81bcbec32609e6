"""The policy of an installation: in its database, with an epoch that every change raises in its own transaction.

A batch reads the epoch in its transaction and decides by the table that belongs to it; the table is made anew only when
the epoch is another one. So a change counts at once, in every process.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from messaging.core.errors import AccessPolicyError
from messaging.core.ids import uuid7
from messaging.log.access import NO_POLICY, Epoch, hold_epoch, lock_policy, read_epoch, take_uses
from messaging.models import AccessChange, AccessEpoch, AccessGrant
from messaging.models.access import allow_changes, changes_allowed
from messaging.security.access import rows
from messaging.security.access.changes import PolicyChange, compare
from messaging.security.access.compiling import DecisionTable
from messaging.security.access.deciding import decide_all
from messaging.security.access.decision import AccessDecision, AccessRequest
from messaging.security.access.policy import Grant, Policy
from messaging.security.access.validating import check_policy

MAX_READS = 5
"""Tries to read a policy that is changed meanwhile, by a reader that does not hold the epoch."""
MAX_WHO = 200


class _Tables:
    """The latest table, so that it is made once for each epoch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest = (NO_POLICY, DecisionTable(Policy()))

    def get(self, epoch: Epoch) -> DecisionTable:
        known, table = self._latest
        if known == epoch:
            return table
        if epoch == NO_POLICY:
            return DecisionTable(Policy())
        with self._lock:  # one thread reads the rows, the others wait for it
            known, table = self._latest
            if known != epoch:
                table = DecisionTable(_read(epoch))
                self._latest = (epoch, table)
        return table


def _read(epoch: Epoch) -> Policy:
    """Read the rows of an epoch."""
    for _ in range(MAX_READS):
        policy = rows.read_policy()
        now = read_epoch()
        if now == epoch:
            return policy
        epoch = now
    raise AccessPolicyError(f"the policy was changed {MAX_READS} times while it was read; try again")


_tables = _Tables()


def current(epoch: Epoch | None = None) -> DecisionTable:
    """The table of the policy that holds.

    Args:
        epoch: as the transaction read it (``log.access``); None to read it now.

    Raises:
        AccessPolicyError: the rows are no sound policy: somebody changed them with SQL. Nothing may be allowed then.
    """
    return _tables.get(read_epoch() if epoch is None else epoch)


def authorize(requests: Sequence[AccessRequest]) -> list[AccessDecision]:
    """Decide requests by the policy that holds until this transaction ends, and count uses in it.

    Call it inside the transaction that acts on the answers, before it locks rows.

    Raises:
        AccessPolicyError: as ``current``.
    """
    return decide_by(hold_epoch(), requests)


def decide_by(epoch: Epoch, requests: Sequence[AccessRequest]) -> list[AccessDecision]:
    """Decide requests by the policy of an epoch that this transaction holds, and count uses in it.

    Raises:
        AccessPolicyError: as ``current``.
    """
    return decide_all(current(epoch), requests, _spend)


def foresee_by(epoch: Epoch, requests: Sequence[AccessRequest]) -> list[AccessDecision]:
    """Decide requests by the policy of an epoch outside any transaction, where no use is counted.

    Raises:
        AccessPolicyError: as ``current``, or a grant counts its uses.
    """
    return decide_all(current(epoch), requests, _refuse_to_spend)


def _refuse_to_spend(grant: Grant, wanted: int) -> int:
    raise AccessPolicyError(f"the uses of grant {grant.name!r} are counted in the transaction that sends")


def _spend(grant: Grant, wanted: int) -> int:
    return take_uses(grant.name, wanted)


@contextmanager
def change(who: str) -> Iterator[None]:
    """Change rows of the policy within; when it ends, the policy is checked, audited and has a new epoch.

    Waits for the transactions that decide by the old policy. Do not call it in one of those, such as a handler's.

    Args:
        who: changes it, such as ``"anna"``.

    Raises:
        AccessPolicyError: what came out cannot work; nothing was changed.
    """
    if not who.strip():
        raise AccessPolicyError("a change needs somebody who makes it; give 'who' a name")
    if changes_allowed():
        raise AccessPolicyError("a change is open already; make both in one")
    with transaction.atomic():
        lock_policy()
        with allow_changes():
            AccessEpoch.objects.get_or_create(pk=1)
            # So that no use that is counted meanwhile looks like a part of this change.
            list(AccessGrant.objects.select_for_update().filter(uses__isnull=False).order_by("pk").values_list("pk"))
            before = rows.read_policy()
            yield
        after = rows.read_policy()
        check_policy(after)
        _record(who, compare(before, after))


def _record(who: str, changes: Sequence[PolicyChange]) -> None:
    if not changes:
        return
    AccessEpoch.objects.filter(pk=1).update(number=F("number") + 1, token=uuid7())
    number, now = read_epoch().number, timezone.now()
    AccessChange.objects.bulk_create(
        AccessChange(
            epoch=number,
            at=now,
            who=who[:MAX_WHO],
            kind=one.kind,
            name=one.name,
            before=one.before,
            after=one.after,
        )
        for one in changes
    )


def load_policy() -> Policy:
    """The policy that holds, as its rows say it.

    Raises:
        AccessPolicyError: it changes too quickly to be read.
    """
    return _read(read_epoch())


def save_policy(policy: Policy, who: str) -> None:
    """Put a policy in the place of the one that holds; remaining uses become those of the new one.

    Raises:
        AccessPolicyError: it cannot work; nothing was changed.
    """
    check_policy(policy)
    with change(who):
        rows.write_policy(policy)
