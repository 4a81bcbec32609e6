"""Resolving many dead letters, each in a transaction of its own: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from django.db.models import QuerySet

from messaging.core.arguments import as_uuid, check_count, check_text
from messaging.core.errors import NexusError
from messaging.models import DeadLetter, DeadLetterStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which open dead letters are meant; every criterion that is given must hold.

    Args:
        agent: exact name of the recipient.
        message_type: exact type of the message.
        workflow: id of its workflow.
        reason: one of ``DeadReason``.

    Raises:
        EnvelopeError: one of them cannot be.
    """

    agent: str = ""
    message_type: str = ""
    workflow: UUID | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        for attribute in ("agent", "message_type", "reason"):
            if getattr(self, attribute) != "":
                check_text(attribute, getattr(self, attribute))
        if self.workflow is not None:
            object.__setattr__(self, "workflow", as_uuid("workflow", self.workflow))

    def select(self) -> QuerySet[DeadLetter]:
        """The open dead letters that match, the oldest first."""
        found = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN)
        if self.agent:
            found = found.filter(agent=self.agent)
        if self.message_type:
            found = found.filter(message_type=self.message_type)
        if self.workflow is not None:
            found = found.filter(workflow=self.workflow)
        if self.reason:
            found = found.filter(reason=self.reason)
        return found.order_by("pk")

    def ids(self, limit: int | None = None) -> list[int]:
        """Their ids, at most ``limit``."""
        check_count("limit", limit)
        return list(self.select().values_list("pk", flat=True)[:limit])


def resolve_each(ids: Iterable[int], resolve: Callable[[int], object]) -> Iterator[tuple[int, str]]:
    """Replay or discard dead letters one after another.

    Args:
        ids: of the dead letters.
        resolve: what to do with one.

    Yields:
        (id, what was wrong, or nothing) for each.
    """
    for identifier in ids:
        try:
            resolve(identifier)
        except NexusError as error:
            yield identifier, str(error)
        else:
            yield identifier, ""
