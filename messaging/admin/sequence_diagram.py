"""Who said what to whom: a column for each agent or group, an arrow for each message, as SVG without script."""

from __future__ import annotations

from collections.abc import Sequence

from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from messaging.operators.timeline import TimelineMessage

LANE, ROW, HEAD = 150, 30, 34
LEFT = 16
MAX_LANES = 30
"""Agents that have a column of their own; the others share the last one."""
OTHERS = "others"
MAX_NAME, MAX_TYPE = 18, 40
HEAD_EVERY = 25
"""Messages after which the names are repeated: they would be out of sight."""


def draw(messages: Sequence[TimelineMessage]) -> SafeString | str:
    """The picture of a window's messages; nothing where there are none."""
    if not messages:
        return ""
    lanes = _lanes(messages)
    heads = 1 + (len(messages) - 1) // HEAD_EVERY
    width, height = LEFT * 2 + len(set(lanes.values())) * LANE, HEAD * heads + ROW * len(messages) + 10
    parts, y = [], 0
    for number, message in enumerate(messages):
        if number % HEAD_EVERY == 0:
            parts.append(_names(lanes, y))
            y += HEAD
        parts.append(_arrow(message, lanes, y + ROW - 8))
        y += ROW
    lines = format_html_join(
        "",
        '<line class="lane" x1="{}" y1="0" x2="{}" y2="{}"/>',
        ((x, x, height) for x in sorted({_x(column) for column in lanes.values()})),
    )
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" class="nexus-sequence" role="group" width="{}" height="{}"'
        ' viewBox="0 0 {} {}" aria-label="Who said what to whom, messages {} to {}; the list above says the same">'
        '<defs><marker id="nexus-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
        ' orient="auto-start-reverse"><path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>{}{}</svg>',
        width,
        height,
        width,
        height,
        messages[0].row.sequence,
        messages[-1].row.sequence,
        lines,
        format_html_join("", "{}", ((part,) for part in parts)),
    )


def _lanes(messages: Sequence[TimelineMessage]) -> dict[str, int]:
    """Name → column, in the order in which they appear."""
    names = dict.fromkeys(name for message in messages for name in (message.row.source, message.row.subject))
    if len(names) <= MAX_LANES:
        return {name: column for column, name in enumerate(names)}
    return {name: min(column, MAX_LANES - 1) for column, name in enumerate(names)}


def _x(column: int) -> int:
    return LEFT + column * LANE + LANE // 2


def _names(lanes: dict[str, int], y: int) -> SafeString:
    shared = len(lanes) > MAX_LANES
    shown = {column: name for name, column in reversed(lanes.items())}
    if shared:
        shown[MAX_LANES - 1] = OTHERS
    return format_html_join(
        "",
        '<g><title>{}</title><rect class="lane-head" x="{}" y="{}" width="{}" height="{}" rx="5"/>'
        '<text class="lane-name" x="{}" y="{}">{}</text></g>',
        (
            (name, _x(column) - LANE // 2 + 6, y + 4, LANE - 12, HEAD - 12, _x(column), y + 19, _cut(name, MAX_NAME))
            for column, name in shown.items()
        ),
    )


def _arrow(message: TimelineMessage, lanes: dict[str, int], y: int) -> SafeString:
    row = message.row
    start, end = _x(lanes[row.source]), _x(lanes[row.subject])
    if start == end:  # to itself
        line = format_html(
            '<path class="said {}" d="M{} {} h26 v8 h-22" marker-end="url(#nexus-head)"/>', message.state, start, y - 4
        )
        place, anchor = start + 32, "start"
    else:
        toward = 4 if end > start else -4
        line = format_html(
            '<line class="said {}" x1="{}" y1="{}" x2="{}" y2="{}" marker-end="url(#nexus-head)"/>',
            message.state,
            start,
            y,
            end - toward,
            y,
        )
        place, anchor = (start + end) // 2, "middle"
    text = f"#{row.sequence} {row.type}"
    return format_html(
        '<a href="{}"><title>{}</title>{}<text class="said-type" x="{}" y="{}" text-anchor="{}">{}</text></a>',
        reverse("admin:nexus_message_change", args=[row.pk]),
        f"#{row.sequence} {row.source} → {row.subject}: {row.type} ({message.state or 'for nobody'})",
        line,
        place,
        y - 5,
        anchor,
        _cut(text, MAX_TYPE if abs(end - start) > LANE else LANE // 7),
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
