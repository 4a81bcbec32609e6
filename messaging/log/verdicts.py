"""Statements on verdicts: one over a whole batch."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from messaging.log import rows
from messaging.models import POLLED_STATES

_COLUMNS: rows.Columns = (
    ("delivery_id", "uuid"),
    ("rule_set", "text"),
    ("action", "text"),
    ("rule", "text"),
    ("rule_version", "bigint"),
    ("origin", "text"),
    ("reason", "text"),
    ("pointer", "text"),
    ("duration", "double precision"),
    ("objections", "jsonb"),
    ("state", "text"),
    ("asked", "jsonb"),
    ("answer_by", "timestamptz"),
    ("created_at", "timestamptz"),
    ("resolved_by", "text"),
    ("note", "text"),
)


_POLLED = ", ".join(f"'{state}'" for state in POLLED_STATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVerdict:
    """A verdict to be stored; the fields are those of ``models.Verdict``."""

    delivery: UUID
    rule_set: str
    action: str
    rule: str = ""
    rule_version: int = 0
    origin: str = ""
    reason: str = ""
    pointer: str = ""
    duration: float = 0.0
    objections: Sequence[dict[str, Any]] = ()
    state: str
    asked: Sequence[str] = ()
    answer_by: datetime | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """What holds for a delivery."""

    delivery: UUID
    action: str
    rule: str
    reason: str
    objections: Sequence[dict[str, Any]]
    state: str
    resolved_by: str
    note: str


def count_judging(delivery: UUID) -> tuple[int, str] | None:
    """Count an attempt of a delivery that is to be judged, before it is.

    Returns:
        Its attempts with this one, and its agent; None when nothing waits under this id.
    """
    found = rows.fetch(
        "UPDATE nexus_delivery SET attempts = attempts + 1"
        f" WHERE id = %s AND state IN ({_POLLED}) RETURNING attempts, agent",
        [rows.to_database(delivery)],
    )
    return (int(found[0][0]), str(found[0][1])) if found else None


def take_back_judging(delivery: UUID) -> None:
    """Take back what ``count_judging`` counted: judging it killed nobody."""
    rows.execute(
        "UPDATE nexus_delivery SET attempts = attempts - 1 WHERE id = %s AND attempts > 0", [rows.to_database(delivery)]
    )


_INSERT_ACCEPTANCES = (
    f"INSERT INTO nexus_verdict ({','.join(name for name, _ in _COLUMNS)})"
    " SELECT column1, %s, 'accept', '', 0, '', '', '', column2, '[]', 'settled', '[]', NULL, %s, '', ''"
    " FROM {source} WHERE true ON CONFLICT (delivery_id, rule_set) DO NOTHING RETURNING delivery_id"
)

_PRECEDENCE = {"released": 0, "rejected": 0, "waiting": 1, "asked": 1}
"""A person's word outranks every version of the rules, and what waits for one or for a judge is judged by no other."""


def save_verdicts(verdicts: Sequence[NewVerdict]) -> set[UUID]:
    """Store verdicts unless the same rules judged the same delivery before; return the deliveries of the new ones."""
    values = [
        (
            one.delivery,
            one.rule_set,
            one.action,
            one.rule,
            one.rule_version,
            one.origin,
            one.reason,
            one.pointer,
            one.duration,
            json.dumps(list(one.objections)) if one.objections else "[]",
            one.state,
            json.dumps(list(one.asked)) if one.asked else "[]",
            one.answer_by,
            one.created_at,
            "",
            "",
        )
        for one in verdicts
    ]
    once = "ON CONFLICT (delivery_id, rule_set) DO NOTHING"
    new = rows.insert("nexus_verdict", _COLUMNS, values, on_conflict=once, returning="delivery_id")
    return {rows.to_uuid(row[0]) for row in new}


def save_acceptances(durations: Mapping[UUID, float], rule_set: str, now: datetime) -> set[UUID]:
    """Store that rules have nothing against deliveries, as ``save_verdicts`` does: of most there is no more to say.

    Args:
        durations: of each delivery, seconds that the rules took.
        rule_set: digest of the rules.
        now: when they judged.
    """
    stored: set[UUID] = set()
    items = list(durations.items())
    for start in range(0, len(items), rows.MAX_PARAMETERS // 2):
        source = rows.table(("uuid", "double precision"), items[start : start + rows.MAX_PARAMETERS // 2])
        new = rows.fetch(
            _INSERT_ACCEPTANCES.format(source=source.sql), [rule_set, now, *source.parameters], prepare=True
        )
        stored.update([rows.to_uuid(row[0]) for row in new])
    return stored


_FOUND = "delivery_id, action, rule, reason, objections, state, resolved_by, note"


def _find(deliveries: Collection[UUID], rule_set: str) -> tuple[str, list[Any]]:
    """The statement that finds verdicts, with its parameters."""
    if not rows.on_postgres():
        chosen = rows.among(deliveries)
        return (
            f"SELECT {_FOUND} FROM nexus_verdict WHERE delivery_id {chosen.sql}"
            " AND (rule_set = %s OR state <> 'settled') ORDER BY resolved_at, id",
            [*chosen.parameters, rule_set],
        )
    # By the index, id by id: for a list of ids the planner reads the whole table until that has grown large.
    source = rows.table(("uuid",), [(delivery,) for delivery in deliveries])
    return (
        f"SELECT {_FOUND} FROM {source.sql}, LATERAL (SELECT {_FOUND}, resolved_at, id FROM nexus_verdict"
        " WHERE delivery_id = v.column1 AND (rule_set = %s OR state <> 'settled') OFFSET 0) AS found"
        " ORDER BY resolved_at, id",
        [*source.parameters, rule_set],
    )


def find_verdicts(deliveries: Collection[UUID], rule_set: str) -> dict[UUID, VerdictRow]:
    """The verdict that holds for each delivery: a person's, or the one that waits for a person, or of these rules."""
    found = rows.fetch(*_find(deliveries, rule_set))
    best: dict[UUID, VerdictRow] = {}
    for delivery, action, rule, reason, objections, state, resolved_by, note in found:
        row = VerdictRow(
            delivery=rows.to_uuid(delivery),
            action=action,
            rule=rule,
            reason=reason,
            objections=json.loads(objections) if isinstance(objections, str | bytes) else objections,
            state=state,
            resolved_by=resolved_by,
            note=note,
        )
        before = best.get(row.delivery)
        if before is None or _PRECEDENCE.get(row.state, 2) <= _PRECEDENCE.get(before.state, 2):
            best[row.delivery] = row
    return best
