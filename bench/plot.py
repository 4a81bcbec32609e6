"""The plot: one SVG, drawn by hand, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from bench.results import Spread, show

WIDTH = 860
BAR = 22
GAP = 10
LEFT = 170
RIGHT = 250
STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.h{font-weight:600;font-size:15px}.n{fill:#57606a}"
    ".b{fill:#8c959f}.o{fill:#0969da}.w{stroke:#24292f;stroke-width:1.5}.g{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.n{fill:#9da7b1}.b{fill:#6e7681}.o{fill:#4493f8}"
    ".w{stroke:#e6edf3}.g{fill:#0d1117}}</style>"
)


def draw(path: Path, title: str, bars: Sequence[tuple[str, Spread, str]], *, ours: str) -> None:
    """Write horizontal bars: the median, with a line from the least to the greatest measurement.

    Args:
        path: of the SVG file.
        title: above it.
        bars: name, messages per second, and a few words beside it.
        ours: the bar to show in another colour.
    """
    height = 50 + len(bars) * (BAR + GAP)
    scale = (WIDTH - LEFT - RIGHT) / max(spread.maximum for _, spread, _ in bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f' aria-label="{escape(title)}">',
        STYLE,
        f'<rect class="g" width="{WIDTH}" height="{height}"/>',
        f'<text class="h" x="12" y="24">{escape(title)}</text>',
    ]
    for number, (name, spread, words) in enumerate(bars):
        top = 42 + number * (BAR + GAP)
        middle = top + BAR / 2
        kind = "o" if name == ours else "b"
        parts += [
            f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{spread.median * scale:.1f}" height="{BAR}" rx="3"/>',
            f'<line class="w" x1="{LEFT + spread.minimum * scale:.1f}" x2="{LEFT + spread.maximum * scale:.1f}"'
            f' y1="{middle}" y2="{middle}"/>',
            f'<text x="{LEFT + spread.maximum * scale + 8:.1f}" y="{middle + 4}">{show(spread.median)}'
            f'<tspan class="n" dx="8">{escape(words)}</tspan></text>',
        ]
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")
