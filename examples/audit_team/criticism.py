"""What the critic checks: that an analyst's figures fit the file that the planner saw, and fit together."""

from __future__ import annotations

from typing import Any

from examples.audit_team.analysis import MAX_LISTED


def objections(figures: dict[str, Any], expected: dict[str, Any] | None) -> list[str]:
    """Everything that is wrong with one result; empty when it holds.

    Args:
        figures: as an analyst sent them, with sha256 and size of what it read.
        expected: sha256 and size as the planner saw them; None when the planner never named the file.
    """
    if expected is None:
        return ["the planner never named this file"]
    found = []
    if (figures["sha256"], figures["size"]) != (expected["sha256"], expected["size"]):
        found.append("the file changed between planning and analysis")
    if figures["status"] == "parsed":
        found += [text for text, wrong in _contradictions(figures) if wrong]
    return found


def _contradictions(f: dict[str, Any]) -> list[tuple[str, bool]]:
    lines, functions = f["lines"], f["functions"]
    name, start, length = f["longest"]
    todo_lines = [line for line, _ in f["todos"]]
    return [
        ("the complexity bands do not add up to the functions", sum(f["bands"]) != functions),
        ("the complexity is below one for each function", f["complexity"] < functions),
        ("one function is more complex than all together", f["most_complex"][2] > f["complexity"]),
        ("the longest function ends behind the file", start + length - 1 > lines),
        ("there are functions and none is the longest", bool(functions) != bool(name)),
        ("more docstrings are missing than there could be", f["undocumented"] > f["public"]),
        ("more is public than is defined", f["public"] > functions + f["classes"] + 1),
        ("the list of missing docstrings has another length", len(f["missing"]) != min(f["undocumented"], MAX_LISTED)),
        ("a TODO stands behind the end of the file", any(not 1 <= line <= lines for line in todo_lines)),
    ]
