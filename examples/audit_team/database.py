"""The team's store in the database. Called inside the transaction in which a message is handled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from examples.audit_team.models import Assignment, Expectation, LedgerEntry, Result
from messaging.api import Envelope


class DatabaseStore:
    """For the workers: what is written here commits together with the message's handling, or not at all."""

    def note_handled(self, message: Envelope) -> None:
        LedgerEntry.objects.create(
            workflow=message.workflow_id,
            agent=message.subject,
            message=message.message_id,
            position=message.position or 0,
        )

    def expect(self, workflow: UUID, files: Sequence[dict[str, Any]]) -> None:
        Expectation.objects.bulk_create([Expectation(workflow=workflow, **item) for item in files])

    def expected(self, workflow: UUID, key: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = (
            Expectation.objects.filter(workflow=workflow, key=key).values("sha256", "size").first()
        )
        return found

    def assign(self, workflow: UUID, details: dict[str, Any]) -> None:
        Assignment.objects.create(workflow=workflow, details=details)

    def assignment(self, workflow: UUID) -> dict[str, Any] | None:
        found: dict[str, Any] | None = (
            Assignment.objects.filter(workflow=workflow).values_list("details", flat=True).first()
        )
        return found

    def add_result(self, workflow: UUID, figures: dict[str, Any]) -> int:
        Result.objects.create(workflow=workflow, key=figures["key"], figures=figures)
        return Result.objects.filter(workflow=workflow).count()

    def results(self, workflow: UUID) -> list[dict[str, Any]]:
        return list(Result.objects.filter(workflow=workflow).values_list("figures", flat=True))
