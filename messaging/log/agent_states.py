"""Statements on what agents remember of workflows (``context.state``). Call them with the workflows locked."""

from __future__ import annotations

import json
import re
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
    ("data", "jsonb"),
    ("changed_at", "timestamptz"),
)


def load_states(keys: Collection[StateKey]) -> dict[StateKey, dict[str, Any]]:
    """The states of agents in workflows; those without one are left out."""
    if not keys:
        return {}
    wanted = rows.table(("uuid", "text"), sorted(keys))
    found = rows.fetch(
        f"SELECT s.workflow_id, s.agent, CAST(s.data AS text) FROM {wanted.sql}"
        " JOIN nexus_agent_state s ON s.workflow_id = v.column1 AND s.agent = v.column2",
        wanted.parameters,
    )
    return {(rows.to_uuid(workflow_id), agent): json.loads(_unescape(data)) for workflow_id, agent, data in found}


# PostgreSQL's jsonb refuses NUL, whatever its spelling. In the stored text SUB and 0 stand for NUL, SUB and 1 for SUB
# itself, in both databases.
# Escapes are read one after the other, so that a backslash before "u0000" in somebody's text stays what it is.
_ESCAPES = re.compile(r"\\(?:u001a[01]|u[0-9a-f]{4}|.)")


def _escape(text: str) -> str:
    if "\\u0000" not in text and "\\u001a" not in text:
        return text
    new = {"\\u0000": "\\u001a0", "\\u001a": "\\u001a1"}
    # One that is followed by 0 or 1 is matched with it.
    return _ESCAPES.sub(lambda found: new.get(found[0][:6], found[0][:6]) + found[0][6:], text)


def _unescape(text: str) -> str:
    if "\\u001a" not in text:
        return text
    old = {"\\u001a0": "\\u0000", "\\u001a1": "\\u001a"}
    return _ESCAPES.sub(lambda found: old.get(found[0], found[0]), text)


def save_states(states: Mapping[StateKey, dict[str, Any]]) -> None:
    """Store states that handlers changed."""
    if not states:
        return
    now = timezone.now()
    rows.insert(
        "nexus_agent_state",
        _COLUMNS,
        [(*key, _escape(msgspec.json.encode(states[key]).decode()), now) for key in sorted(states)],
        on_conflict="ON CONFLICT (workflow_id, agent)"
        " DO UPDATE SET data = excluded.data, changed_at = excluded.changed_at",
    )
