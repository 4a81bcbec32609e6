"""The audit as one list: acts of operators, and what keys, rules, access and labels have of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import QuerySet

from messaging.models import (
    AccessChange,
    EndorsementKind,
    LabelEndorsement,
    OperatorAct,
    RuleSet,
    SigningChange,
)

MAX_TIES = 200
"""Rows of one transaction, which have one time, that a page may be longer by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLine:
    """Something that a person did.

    Args:
        at, who: when, and the name of who did it.
        entrance: by which door, where that is known.
        action: what was done.
        kind, key: to what.
        reason: why, where that was said.
        before, after: as plain data, where they are known.
        model, pk: the row that says so.
    """

    at: datetime
    who: str
    action: str
    kind: str
    key: str
    model: type[models.Model]
    pk: Any
    entrance: str = ""
    reason: str = ""
    before: Any = None
    after: Any = None


def audit(*, before: datetime | None = None, who: str = "", kind: str = "", limit: int = 100) -> list[AuditLine]:
    """What people did, the newest first.

    Args:
        before: only what was done earlier.
        who: only what a user of exactly that name did.
        kind: only what was done to one kind of object, such as ``"workflow"`` or ``"key"``.
        limit: that many lines; more, where the last ones have one time.
    """
    found: list[AuditLine] = []
    for rows, time_field, who_field, line in _sources():
        chosen = rows.order_by(f"-{time_field}", "-pk")
        if before is not None:
            chosen = chosen.filter(**{f"{time_field}__lt": before})
        if who:
            chosen = chosen.filter(**{who_field: who})
        if kind and rows.model is OperatorAct:
            chosen = chosen.filter(kind=kind)
        lines = (line(row) for row in chosen[: limit + MAX_TIES])
        found += [one for one in lines if not kind or one.kind == kind]
    found.sort(key=lambda one: one.at, reverse=True)
    end = limit
    while end < len(found) and found[end].at == found[end - 1].at:
        end += 1
    return found[:end]


def _sources() -> Iterator[tuple[QuerySet[Any], str, str, Any]]:
    """(rows, their time, their person, how one becomes a line) of each table that has acts of people."""
    people = (EndorsementKind.PERSON, EndorsementKind.APPROVAL)
    yield OperatorAct.objects.all(), "at", "who", _act
    yield AccessChange.objects.all(), "at", "who", _access
    yield SigningChange.objects.all(), "at", "who", _signing
    yield LabelEndorsement.objects.filter(kind__in=people), "at", "who", _labels
    yield RuleSet.objects.defer("text"), "created_at", "created_by", _rules


def _act(row: OperatorAct) -> AuditLine:
    return AuditLine(
        at=row.at,
        who=row.who,
        entrance=row.entrance,
        action=row.action,
        kind=row.kind,
        key=row.key,
        reason=row.reason,
        before=row.before,
        after=row.after,
        model=OperatorAct,
        pk=row.pk,
    )


def _access(row: AccessChange) -> AuditLine:
    action = "add" if row.before is None else "remove" if row.after is None else "change"
    return AuditLine(
        at=row.at,
        who=row.who,
        action=action,
        kind=f"access {row.kind}",
        key=row.name,
        before=row.before,
        after=row.after,
        model=AccessChange,
        pk=row.pk,
    )


def _signing(row: SigningChange) -> AuditLine:
    return AuditLine(
        at=row.at,
        who=row.who,
        action=row.what,
        kind="key",
        key=row.kid,
        reason=row.detail,
        model=SigningChange,
        pk=row.pk,
    )


def _labels(row: LabelEndorsement) -> AuditLine:
    return AuditLine(
        at=row.at,
        who=row.who,
        action="endorse" if row.kind == EndorsementKind.PERSON else "approve",
        kind="labels",
        key=str(row.message_id),
        reason=row.reason,
        before={"labels": row.before},
        after={"labels": row.after},
        model=LabelEndorsement,
        pk=row.pk,
    )


def _rules(row: RuleSet) -> AuditLine:
    return AuditLine(
        at=row.created_at,
        who=row.created_by,
        action="load",
        kind="rules",
        key=f"version {row.pk}",
        after={"digest": row.digest},
        model=RuleSet,
        pk=row.pk,
    )
