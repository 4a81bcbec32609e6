"""Statements on what agents remember of workflows (``context.state``). Call them with the workflows locked."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

import msgspec
from django.utils import timezone

from messaging.log import rows

StateKey = tuple[UUID, str]
"""(workflow, agent)"""

_COLUMNS: rows.Columns = (
    ("workflow_id", "uuid"),
    ("agent", "text"),
    ("data", "text"),
    ("changed_at", "timestamptz"),
)


def load_states(keys: Collection[StateKey]) -> dict[StateKey, dict[str, Any]]:
    """The states of agents in workflows; those without one are left out."""
    if not keys:
        return {}
    wanted = rows.table(("uuid", "text"), sorted(keys))
    found = rows.fetch(
        f"SELECT s.workflow_id, s.agent, s.data FROM {wanted.sql}"
        " JOIN nexus_agent_state s ON s.workflow_id = v.column1 AND s.agent = v.column2",
        wanted.parameters,
    )
    return {(rows.to_uuid(workflow_id), agent): json.loads(data) for workflow_id, agent, data in found}


def save_states(states: Mapping[StateKey, dict[str, Any]]) -> None:
    """Store states that handlers changed."""
    if not states:
        return
    now = timezone.now()
    rows.insert(
        "nexus_agent_state",
        _COLUMNS,
        [(*key, msgspec.json.encode(states[key]).decode(), now) for key in sorted(states)],
        on_conflict="ON CONFLICT (workflow_id, agent)"
        " DO UPDATE SET data = excluded.data, changed_at = excluded.changed_at",
    )
