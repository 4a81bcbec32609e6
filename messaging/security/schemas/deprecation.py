"""Who still sends what is deprecated: counted by type, version and sender, in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from threading import Lock
from typing import NamedTuple

from messaging.security.schemas.compiled import CompiledSchema
from messaging.security.schemas.uri import SchemaKey

MAX_COUNTED = 10_000
OTHERS = "(others)"
"""In whose name senders beyond ``MAX_COUNTED`` are counted."""


class Use(NamedTuple):
    """A schema, and who sent messages by it."""

    key: SchemaKey
    source: str


class DeprecatedUses:
    """Counts messages that follow a deprecated schema. Threads may share it; its size is bounded."""

    def __init__(self) -> None:
        self._counts: Counter[Use] = Counter()
        self._lock = Lock()

    def note(self, batch: Iterable[tuple[CompiledSchema | None, str]]) -> None:
        """Count a batch.

        Args:
            batch: schema and sender of each message; what is not deprecated is not counted.
        """
        uses = [Use(schema.key, source) for schema, source in batch if schema is not None and schema.deprecated]
        if not uses:
            return
        with self._lock:
            for use in uses:
                known = use in self._counts or len(self._counts) < MAX_COUNTED
                self._counts[use if known else use._replace(source=OTHERS)] += 1

    def counts(self) -> dict[Use, int]:
        """How many messages each sender sent by each deprecated schema."""
        with self._lock:
            return dict(self._counts)


deprecated_uses = DeprecatedUses()
"""What this process sent. ``traffic.deprecated_senders`` reads it from the log, for all processes."""
