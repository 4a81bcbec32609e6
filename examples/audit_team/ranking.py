"""Which files need attention most: points by a rule that the report prints."""

from __future__ import annotations

from typing import Any

RULE = (
    "Points: one for every 10 lines that the longest function has beyond 50; one for each unit of complexity that the "
    "most complex function has beyond 10; one for each public docstring that is missing; one for each TODO; 20 for a "
    "file that does not parse."
)


def points(figures: dict[str, Any]) -> int:
    """Points of one file."""
    if figures["status"] != "parsed":
        return 20
    return int(
        max(0, figures["longest"][2] - 50) // 10
        + max(0, figures["most_complex"][2] - 10)
        + figures["undocumented"]
        + figures["todo_count"]
    )


def ranked(results: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """All files with their points, those that need attention most first."""
    return sorted(((points(figures), figures) for figures in results), key=lambda pair: (-pair[0], pair[1]["key"]))
