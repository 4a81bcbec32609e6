"""Resolving many dead letters, each in a transaction of its own: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from messaging.core.arguments import as_uuid, check_count, check_text
from messaging.core.describing import safe_repr
from messaging.core.errors import EnvelopeError, NexusError, ReplayError
from messaging.models import BulkAction, DeadLetter, DeadLetterStatus
from messaging.operators.acts import Actor, perform
from messaging.recovery import replay as replaying
from messaging.recovery.open_letters import checked_letter_id

GROUP_COLUMNS = ("agent", "reason", "error", "place", "message_type")
"""What dead letters with one cause have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which open dead letters are meant; every criterion that is given must hold.

    Args:
        agent: exact name of the recipient.
        message_type: exact type of the message.
        workflow: id of its workflow.
        reason: one of ``DeadReason``.
        group: their values of ``GROUP_COLUMNS``; see ``like``.

    Raises:
        EnvelopeError: one of them cannot be.
    """

    agent: str = ""
    message_type: str = ""
    workflow: UUID | None = None
    reason: str = ""
    group: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for attribute in ("agent", "message_type", "reason"):
            if getattr(self, attribute) != "":
                check_text(attribute, getattr(self, attribute))
        if self.workflow is not None:
            object.__setattr__(self, "workflow", as_uuid("workflow", self.workflow))

    @classmethod
    def like(cls, dead_letter_id: int) -> DeadLetterFilter:
        """Those with the same cause as a dead letter, which may be resolved.

        Raises:
            ReplayError: there is no such dead letter.
        """
        found = DeadLetter.objects.filter(pk=checked_letter_id(dead_letter_id)).values_list(*GROUP_COLUMNS).first()
        if found is None:
            raise ReplayError(f"There is no dead letter {dead_letter_id}.")
        return cls(group=tuple(found))

    @classmethod
    def from_plain(cls, criteria: dict[str, Any]) -> DeadLetterFilter:
        """What ``as_plain`` was made of.

        Raises:
            EnvelopeError: it was made of none.
        """
        try:
            return cls(**{**criteria, "group": tuple(criteria.get("group", ()))})
        except (TypeError, AttributeError):
            raise EnvelopeError(
                "criteria", f"expected those of dead letters, got {safe_repr(criteria)[:100]}"
            ) from None

    def as_plain(self) -> dict[str, Any]:
        """As JSON has it; only the criteria that are given."""
        given: dict[str, Any] = {
            name: value for name in ("agent", "message_type", "reason") if (value := getattr(self, name))
        }
        if self.workflow is not None:
            given["workflow"] = str(self.workflow)
        return {**given, "group": list(self.group)} if self.group else given

    @property
    def common(self) -> dict[str, str]:
        """What the dead letters of its group have in common, by column; empty without a group."""
        return dict(zip(GROUP_COLUMNS, self.group, strict=bool(self.group)))

    def __str__(self) -> str:
        """For people."""
        given = {**self.as_plain(), **self.common}
        return ", ".join(f"{name}: {value}" for name, value in given.items() if value and name != "group") or "all"

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
        if self.group:
            found = found.filter(**self.common)
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


def replay_letter(dead_letter_id: int, *, actor: Actor, reason: str = "") -> None:
    """Put a dead letter back; see ``recovery.replay.replay``. Written down as the actor's act."""
    resolve_letter_as(BulkAction.REPLAY, dead_letter_id, actor=actor, reason=reason)


def discard_letter(dead_letter_id: int, *, actor: Actor, reason: str = "") -> None:
    """Give a dead letter up; see ``recovery.replay.discard``. Written down as the actor's act."""
    resolve_letter_as(BulkAction.DISCARD, dead_letter_id, actor=actor, reason=reason)


def resolve_letter_as(action: BulkAction, dead_letter_id: int, *, actor: Actor, reason: str = "") -> None:
    """Replay or discard a dead letter, and write it down.

    Raises:
        ReplayError: it cannot be; nothing is changed.
    """

    def do() -> str:
        if action is BulkAction.REPLAY:
            replaying.replay(dead_letter_id, user=str(actor))
        else:
            replaying.discard(dead_letter_id, user=str(actor), reason=reason)
        return ""

    perform(actor, action.value, DeadLetter, checked_letter_id(dead_letter_id), do, reason=reason)
