"""A saga's steps as a picture: a column for each stage, a box for each step, coloured by its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from messaging.transactions.plan import SagaPlan
from messaging.transactions.state import SagaState

WIDTH, HEIGHT, GAP_X, GAP_Y = 150, 68, 36, 14
MAX_NAME = 20

COLOURS = {
    "waiting": "#e5e7eb",
    "left_out": "#f3f4f6",
    "awaiting": "#c7d2fe",
    "locked": "#e9d5ff",
    "doing": "#bfdbfe",
    "done": "#bbf7d0",
    "failed": "#fecaca",
    "unknown": "#fed7aa",
    "undoing": "#fde68a",
    "undone": "#ddd6fe",
    "barred": "#ddd6fe",
    "kept": "#d9f99d",
    "parked": "#fca5a5",
    "skipped": "#d1d5db",
}


Times = Mapping[str, tuple[datetime, datetime]]
"""Step → when something happened to it first, and last."""


def times_of(entries: Iterable[tuple[str, datetime]]) -> Times:
    """The times of each step.

    Args:
        entries: (step, time) of the journal, in order.
    """
    times: dict[str, tuple[datetime, datetime]] = {}
    for step, at in entries:
        times[step] = (times[step][0] if step in times else at, at)
    return times


def draw(plan: SagaPlan, state: SagaState, times: Times) -> SafeString:
    """The picture, as SVG."""
    boxes, arrows = [], []
    tallest = max(len(stage) for stage in plan.stages)
    height = tallest * (HEIGHT + GAP_Y) + GAP_Y
    for column, stage in enumerate(plan.stages):
        x = GAP_X // 2 + column * (WIDTH + GAP_X)
        top = (height - len(stage) * (HEIGHT + GAP_Y) + GAP_Y) // 2
        for row, step in enumerate(stage):
            run, y = state.steps[step.name], top + row * (HEIGHT + GAP_Y)
            title = f"{step.name}: {run.state}" + (f" ({run.error})" if run.error else "")
            name = step.name if len(step.name) <= MAX_NAME else f"{step.name[: MAX_NAME - 1]}…"
            when = "{:%H:%M:%S} - {:%H:%M:%S}".format(*times[step.name]) if step.name in times else ""
            if step.name in times:
                title += ", from {:%Y-%m-%d %H:%M:%S.%f} to {:%Y-%m-%d %H:%M:%S.%f}".format(*times[step.name])
            fill = COLOURS.get(run.state, "#ffffff")
            border = 3 if step.pivot else 1
            middle = x + WIDTH // 2
            boxes.append(
                (
                    title,
                    x,
                    y,
                    WIDTH,
                    HEIGHT,
                    fill,
                    border,
                    middle,
                    y + 22,
                    name,
                    middle,
                    y + 40,
                    run.state,
                    middle,
                    y + 57,
                    when,
                )
            )
        if column:
            arrows.append((x - GAP_X + 4, height // 2, x - 6, height // 2))
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{}" height="{}" font-family="sans-serif"'
        ' font-size="13" text-anchor="middle"><defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4"'
        ' markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#6b7280"/></marker></defs>'
        "{}{}</svg>",
        len(plan.stages) * (WIDTH + GAP_X),
        height,
        format_html_join(
            "",
            '<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="#6b7280" marker-end="url(#head)"/>',
            arrows,
        ),
        format_html_join(
            "",
            '<g><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="6" fill="{}" stroke="#374151"'
            ' stroke-width="{}"/><text x="{}" y="{}" fill="#111827">{}</text><text x="{}" y="{}" fill="#374151"'
            ' font-size="11">{}</text><text x="{}" y="{}" fill="#6b7280" font-size="10">{}</text></g>',
            boxes,
        ),
    )
