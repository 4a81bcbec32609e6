"""Try, confirm, cancel: reserve with each, then confirm all, or cancel what was reserved."""

from __future__ import annotations

from dataclasses import dataclass

from messaging.transactions.definition import Saga, step
from messaging.transactions.plan import DEFAULT_TIMEOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What is reserved with one agent.

    Args:
        name: of the step; its confirmation is called ``<name> confirmed``.
        agent: the participant.
        reserve, confirm, cancel: the types of the messages to it.
        timeout: seconds to wait for an answer, each time.
        retries: how often reserving is tried again.
        confirm_retries: how often confirming is, before the saga is parked: what was promised must be kept.
    """

    name: str
    agent: str
    reserve: str
    confirm: str
    cancel: str
    timeout: float = DEFAULT_TIMEOUT
    retries: int = 2
    confirm_retries: int = 20


def try_confirm_cancel(name: str, *reservations: Reservation, version: int = 1) -> Saga:
    """A saga that reserves with all, side by side; then confirms with all, or cancels with those that reserved.

    Raises:
        ConfigurationError: there can be no such saga.
    """
    reserving = [
        step(
            one.name,
            do=(one.agent, one.reserve),
            undo=(one.agent, one.cancel),
            timeout=one.timeout,
            retries=one.retries,
        )
        for one in reservations
    ]
    confirming = [
        step(f"{one.name} confirmed", do=(one.agent, one.confirm), timeout=one.timeout, retries=one.confirm_retries)
        for one in reservations
    ]
    return Saga(name, version).parallel(*reserving).point_of_no_return("reserved").parallel(*confirming)
