"""The agents of Nexus's own that every installation has."""

from __future__ import annotations

from messaging.core.registry import registry
from messaging.transactions.sagas import DATABASE_COORDINATOR

registry.register(DATABASE_COORDINATOR)
