"""One policy for a whole transaction: read once, before rows are locked, and asked by every check in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from messaging.core.errors import AccessPolicyError
from messaging.log.access import NO_POLICY, Epoch, hold_epoch
from messaging.security.access.decision import AccessDecision, AccessRequest
from messaging.security.access.store import decide_by, foresee_by

Decider = Callable[[Sequence[AccessRequest]], list[AccessDecision]]


class _OfThread(threading.local):
    # Of the thread, as its database connection is. A context variable would also reach threads whose connection holds
    # nothing; __slots__ would be shared by all threads.
    epoch: Epoch | None = None


_held = _OfThread()
_last: Epoch | None = None


@contextmanager
def holding_policy() -> Iterator[None]:
    """Let nobody change the policy until the transaction that is open ends; one round trip, and none where a caller
    holds it already. Enter it first in the transaction: whoever waits for the policy should hold no rows.
    """
    if _held.epoch is not None:
        yield
        return
    with holding(hold_epoch()):
        yield


@contextmanager
def holding(epoch: Epoch) -> Iterator[None]:
    """Decide by a policy that the transaction which is open holds (``log.open_batch``) already."""
    if _held.epoch is not None:  # the same: nobody could change it since
        yield
        return
    global _last
    _held.epoch = _last = epoch
    try:
        yield
    finally:
        _held.epoch = None


def held_decider() -> Decider | None:
    """What decides by the policy that is held; None where there is no policy, so that everything is allowed.

    Raises:
        AccessPolicyError: nobody holds it here.
    """
    epoch = _held.epoch
    if epoch is None:
        raise AccessPolicyError("it is asked outside holding_policy(), so that it could change before the commit")
    return None if epoch == NO_POLICY else lambda requests: decide_by(epoch, requests)


def last_held() -> Epoch | None:
    """The policy that a transaction of this process held last; None before the first. It may be over by now."""
    return _last


def foreseeing_decider(epoch: Epoch) -> Decider | None:
    """What decides by a policy that nobody holds: what it says is true in a transaction that holds the same epoch. None
    where that has no policy, so that everything is allowed.

    The decider raises ``AccessPolicyError`` where a grant counts its uses, as they are counted in the transaction.
    """
    return None if epoch == NO_POLICY else lambda requests: foresee_by(epoch, requests)
