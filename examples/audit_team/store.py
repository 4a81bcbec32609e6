"""Where the critic and the reporter keep what they know: in the database, or, in legacy mode, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from messaging.api import Envelope


class TeamStore(Protocol):
    """What the agents need of a store. ``workflow`` is the id of the audit."""

    def note_handled(self, message: Envelope) -> None:
        """Write a handling into the ledger."""

    def expect(self, workflow: UUID, files: Sequence[dict[str, Any]]) -> None:
        """Keep what the planner saw."""

    def expected(self, workflow: UUID, key: str) -> dict[str, Any] | None:
        """What the planner saw of a file."""

    def assign(self, workflow: UUID, details: dict[str, Any]) -> None:
        """Keep what the reporter is to do."""

    def assignment(self, workflow: UUID) -> dict[str, Any] | None:
        """What the reporter is to do, once it was told."""

    def add_result(self, workflow: UUID, figures: dict[str, Any]) -> int:
        """Keep a checked result; return how many there are."""

    def results(self, workflow: UUID) -> list[dict[str, Any]]:
        """All checked results."""


class MemoryStore:
    """For the legacy mode: everything ends with the process."""

    def __init__(self) -> None:
        self._expected: dict[tuple[UUID, str], dict[str, Any]] = {}
        self._assigned: dict[UUID, dict[str, Any]] = {}
        self._results: dict[UUID, list[dict[str, Any]]] = {}

    def note_handled(self, message: Envelope) -> None:
        """The legacy mode has no ledger."""

    def expect(self, workflow: UUID, files: Sequence[dict[str, Any]]) -> None:
        self._expected.update({(workflow, item["key"]): item for item in files})

    def expected(self, workflow: UUID, key: str) -> dict[str, Any] | None:
        return self._expected.get((workflow, key))

    def assign(self, workflow: UUID, details: dict[str, Any]) -> None:
        self._assigned[workflow] = details

    def assignment(self, workflow: UUID) -> dict[str, Any] | None:
        return self._assigned.get(workflow)

    def add_result(self, workflow: UUID, figures: dict[str, Any]) -> int:
        results = self._results.setdefault(workflow, [])
        results.append(figures)
        return len(results)

    def results(self, workflow: UUID) -> list[dict[str, Any]]:
        return self._results.get(workflow, [])
