"""What receiving asks of the agents application, plugged in at start: pause switches, rate limits, results and state.

Receiving stands below the agents application and cannot import it, so the application installs itself here
(``install_services``). Every method runs on the calling thread's connection, inside its transaction where there is one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from messaging.core.errors import ConfigurationError

StateKey = tuple[UUID, str]
"""(workflow, agent)"""


class AgentServices(Protocol):
    """See the arguments of each method; times are aware datetimes."""

    def paused(self) -> frozenset[str]:
        """Names of the agents whose pause switch is on."""

    def take_slots(self, agent: str, rate: float, count: int, now: datetime) -> list[datetime]:
        """Say when each of ``count`` handlers may start, at most ``rate`` a second over all workers.

        The caller holds the agent's row lock. A time that is not after ``now`` is used up by this call; a later one is
        when to ask again.
        """

    def find_result(self, delivery_id: UUID, key: str) -> bytes | None:
        """The stored result of ``context.once``."""

    def save_result(self, delivery_id: UUID, key: str, result: bytes) -> bytes:
        """Store a result unless there is one; return the stored one."""

    def load_states(self, keys: Collection[StateKey]) -> dict[StateKey, dict[str, Any]]:
        """``context.state`` of agents; those without one are left out."""

    def save_states(self, states: Mapping[StateKey, dict[str, Any]]) -> None:
        """Store the states that handlers changed."""


class NoServices:
    """Stands in until services are installed: nothing is paused, and what cannot be kept is refused."""

    def paused(self) -> frozenset[str]:
        return frozenset()

    def take_slots(self, agent: str, rate: float, count: int, now: datetime) -> list[datetime]:
        raise self._missing("a rate limit")

    def find_result(self, delivery_id: UUID, key: str) -> bytes | None:
        raise self._missing("context.once")

    def save_result(self, delivery_id: UUID, key: str, result: bytes) -> bytes:
        raise self._missing("context.once")

    def load_states(self, keys: Collection[StateKey]) -> dict[StateKey, dict[str, Any]]:
        return {}

    def save_states(self, states: Mapping[StateKey, dict[str, Any]]) -> None:
        if states:
            raise self._missing("context.state")

    def _missing(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"{what} is kept by the agents application. Add 'agents' to INSTALLED_APPS.")


_services: AgentServices = NoServices()


def install_services(services: AgentServices) -> None:
    """Use these from now on, in this process."""
    global _services
    _services = services


def get_services() -> AgentServices:
    """Those that are installed."""
    return _services
