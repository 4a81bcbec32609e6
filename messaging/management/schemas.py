"""What ``nexus_schemas`` prints."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from messaging.core.registry import AgentSpec
from messaging.security.schemas.compatibility import Comparison
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.reviewing import Review
from messaging.security.schemas.sources import Found
from messaging.security.schemas.uri import SchemaKey, build_uri


def pretty(value: Any) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def summary(found: Found, specs: list[AgentSpec], senders: Mapping[SchemaKey, Mapping[str, int]]) -> dict[str, Any]:
    """One line of the list, as data.

    Args:
        found: the schema.
        specs: the agents that may accept its type.
        senders: who sent how many messages by deprecated schemas.
    """
    type, version = found.key
    document = found.document if isinstance(found.document, dict) else {}
    return {
        "type": type,
        "version": version,
        "uri": build_uri(type, version),
        "title": str(document.get("title", "")),
        "origin": found.origin,
        "deprecated": document.get("deprecated") is True,
        "deprecated_senders": dict(senders.get(found.key, {})),
        "accepted_by": sorted(spec.name for spec in specs if spec.accepts is not None and spec.takes(type)),
    }


def line(row: dict[str, Any]) -> str:
    """One line of the list."""
    senders = ", ".join(f"{name} ({number})" for name, number in row["deprecated_senders"].items())
    mark = f"  deprecated, sent by {senders or 'nobody'}" if row["deprecated"] else ""
    takers = f"  → {', '.join(row['accepted_by'])}" if row["accepted_by"] else ""
    return f"{row['type']}:{row['version']:<3} {row['title']}{mark}{takers}  ({row['origin']})"


def comparison_data(comparison: Comparison) -> dict[str, Any]:
    """A comparison as data."""
    return {
        "reader": comparison.reader,
        "writer": comparison.writer,
        "answer": comparison.answer.value,
        "sample": comparison.sample,
        "problems": list(comparison.problems),
    }


def review_data(review: Review) -> dict[str, Any]:
    """A review as data."""
    return {
        "type": review.type,
        "version": review.version,
        "origin": review.origin,
        "error": review.error,
        "comparisons": [comparison_data(item) for item in review.comparisons],
    }


def difference(registry: SchemaRegistry, old: SchemaKey, new: SchemaKey) -> str:
    """The lines in which two versions differ."""
    documents = registry.documents(old.type)
    before, after = (pretty(documents[version]).splitlines() for version in (old.version, new.version))
    return "\n".join(difflib.unified_diff(before, after, str(old), str(new), lineterm=""))
