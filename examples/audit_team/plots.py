"""Plots as inline SVG, drawn by hand: no library, no script, readable on a phone.

Every plot is 420 units wide and scales with its column. All text is escaped here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

Placer = Callable[[float, float], tuple[float, float]]

WIDTH = 420
ROW = 26
LABEL_LENGTH = 30


def _svg(height: float, title: str, body: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg">'
    return head + f"<title>{escape(title)}</title>" + "".join(body) + "</svg>"


def _text(x: float, y: float, text: str, *, css: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{css}" text-anchor="{anchor}">{escape(text)}</text>'


def shorten(text: str, length: int = LABEL_LENGTH) -> str:
    """A text with its beginning cut off: the end of a path says most."""
    return text if len(text) <= length else "…" + text[-(length - 1) :]


def bars(title: str, values: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars with the label above each, so that long paths fit a narrow screen.

    Args:
        title: for screen readers.
        values: (label, length, text at the end of the bar).
    """
    top = max((value for _, value, _ in values), default=0) or 1
    room = WIDTH - 70
    parts = []
    for number, (label, value, shown) in enumerate(values):
        y = number * (ROW + 12)
        length = max(2.0, room * value / top)
        parts.append(_text(0, y + 12, shorten(label, 54), css="label"))
        parts.append(f'<rect x="0" y="{y + 17}" width="{length:.1f}" height="13" rx="2" class="bar"/>')
        parts.append(_text(length + 6, y + 28, shown, css="value"))
    return _svg(len(values) * (ROW + 12), title, parts)


def columns(title: str, values: Sequence[tuple[str, int]]) -> str:
    """Upright columns with their counts, for distributions.

    Args:
        title: for screen readers.
        values: (label, count).
    """
    top = max((count for _, count in values), default=0) or 1
    step = WIDTH / max(1, len(values))
    base, room = 190, 160
    parts = [f'<line x1="0" y1="{base}" x2="{WIDTH}" y2="{base}" class="axis"/>']
    for number, (label, count) in enumerate(values):
        height = room * count / top
        middle = step * (number + 0.5)
        parts.append(
            f'<rect x="{middle - step * 0.35:.1f}" y="{base - height:.1f}" width="{step * 0.7:.1f}" '
            f'height="{height:.1f}" rx="2" class="bar"/>'
        )
        parts.append(_text(middle, base - height - 6, f"{count:,}", css="value", anchor="middle"))
        parts.append(_text(middle, base + 18, label, css="label", anchor="middle"))
    return _svg(base + 26, title, parts)


def scatter(title: str, across: str, upward: str, points: Sequence[tuple[float, float, str]], named: int = 2) -> str:
    """Points on logarithmic axes.

    Args:
        title: for screen readers.
        across, upward: names of the axes.
        points: (x, y, label); the label shows when the pointer rests on it.
        named: how many of the highest points have their label beside them.
    """
    left, right, top, bottom = 48.0, WIDTH - 12.0, 26.0, 262.0
    reach_x, reach_y = _decades([x for x, _, _ in points]), _decades([y for _, y, _ in points])

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * math.log10(max(1.0, x)) / reach_x,
            bottom - (bottom - top) * math.log10(max(1.0, y)) / reach_y,
        )

    parts = []
    for power in range(reach_x + 1):
        x, _ = place(10.0**power, 1)
        parts.append(f'<line x1="{x:.1f}" y1="{top:g}" x2="{x:.1f}" y2="{bottom:g}" class="grid"/>')
        anchor = "end" if power == reach_x else "middle"
        parts.append(_text(x, bottom + 16, f"{10**power:,}", css="label", anchor=anchor))
    for power in range(reach_y + 1):
        _, y = place(1, 10.0**power)
        parts.append(f'<line x1="{left:g}" y1="{y:.1f}" x2="{right:g}" y2="{y:.1f}" class="grid"/>')
        parts.append(_text(left - 6, y + 4, f"{10**power:,}", css="label", anchor="end"))
    for x, y, label in points:
        at_x, at_y = place(x, y)
        parts.append(
            f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="4" class="dot"><title>{escape(label)}</title></circle>'
        )
    parts += _names(sorted(points, key=lambda point: (-point[1], -point[0], point[2]))[:named], place)
    parts.append(_text((left + right) / 2, bottom + 34, across, css="label", anchor="middle"))
    parts.append(_text(4, 12, upward, css="label"))
    return _svg(bottom + 42, title, parts)


def _names(points: Sequence[tuple[float, float, str]], place: Placer) -> list[str]:
    """Labels left of points, pushed apart where they would overlap."""
    parts = []
    lowest = -100.0
    for x, y, label in points:
        at_x, at_y = place(x, y)
        lowest = max(at_y + 4, lowest + 13)
        parts.append(_text(at_x - 7, lowest, shorten(label.partition(":")[0], 24), css="value", anchor="end"))
    return parts


def _decades(values: Sequence[float]) -> int:
    """Powers of ten that reach above all values."""
    return max(1, math.ceil(math.log10(max([10.0, *values]))))
