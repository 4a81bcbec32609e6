"""The agents of Nexus's own that every installation has."""

from __future__ import annotations

from messaging.core.registry import registry
from messaging.transactions.sagas import DATABASE_COORDINATOR
from messaging.transactions.two_phase.coordinator import TWO_PHASE_COORDINATOR

registry.register(DATABASE_COORDINATOR)
registry.register(TWO_PHASE_COORDINATOR)
