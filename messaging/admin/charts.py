"""Charts as SVG: no script, readable in dark and light, each with its figures in words."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from messaging.observing.dashboard import ChartStep

WIDTH, HEIGHT, FOOT = 720, 120, 18
MAX_LABELS = 6


def bars(steps: Sequence[ChartStep], *, label: str) -> SafeString:
    """What was sent, and how much of it is handled or was given up, as bars.

    Args:
        steps: one bar each.
        label: what the chart shows, for readers of screens.
    """
    highest = max((step.sent for step in steps), default=0)
    width = WIDTH / max(1, len(steps))
    parts = []
    for number, step in enumerate(steps):
        title = f"{_moment(step)}: {step.sent} sent, {step.handled} handled, {step.given_up} given up"
        x, bottom = number * width, float(HEIGHT)
        pieces = []
        for css, value in (
            ("handled", step.handled),
            ("given-up", step.given_up),
            ("open", max(0, step.sent - step.handled - step.given_up)),
        ):
            tall = value / highest * (HEIGHT - 8) if highest else 0.0
            bottom -= tall
            pieces.append((css, f"{x:.1f}", f"{bottom:.1f}", f"{max(0.5, width - 1):.1f}", f"{tall:.1f}"))
        rectangles = format_html_join(
            "",
            '<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>',
            pieces,
        )
        parts.append((title, rectangles))
    drawn = format_html_join("", "<g><title>{}</title>{}</g>", parts)
    return _frame(steps, drawn, label=f"{label}; at most {highest} in one step", top=f"{highest:,}".replace(",", " "))


def line(steps: Sequence[ChartStep], *, label: str) -> SafeString:
    """The slowest times as a line, broken where nothing was handled.

    Args:
        steps: one point each.
        label: what the chart shows.
    """
    highest = max((step.slowest_seconds or 0.0 for step in steps), default=0.0)
    width = WIDTH / max(1, len(steps))
    path, drawing = [], False
    for number, step in enumerate(steps):
        if step.slowest_seconds is None:
            drawing = False
            continue
        y = HEIGHT - (step.slowest_seconds / highest * (HEIGHT - 8) if highest else 0.0)
        x = (number + 0.5) * width
        path.append(f"{'L' if drawing else 'M'}{x:.1f} {y:.1f}" + ("" if drawing else " h0.01"))
        drawing = True
    drawn = format_html('<path class="times" d="{}"/>', " ".join(path))
    return _frame(steps, drawn, label=f"{label}; at most {seconds(highest)}", top=seconds(highest))


def seconds(value: float | None) -> str:
    """A span of time with the unit that suits it."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"


def _moment(step: ChartStep) -> str:
    return f"{timezone.localtime(step.start):%a %H:%M}"


def _frame(steps: Sequence[ChartStep], drawn: SafeString, *, label: str, top: str) -> SafeString:
    every = max(1, len(steps) // MAX_LABELS)
    width = WIDTH / max(1, len(steps))
    labels = format_html_join(
        "",
        '<text x="{}" y="{}">{}</text>',
        (
            (f"{number * width:.0f}", HEIGHT + 14, _moment(step))
            for number, step in enumerate(steps)
            if not number % every
        ),
    )
    return format_html(
        '<svg class="nexus-chart" role="img" aria-label="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">'
        '<line class="ground" x1="0" y1="{}" x2="{}" y2="{}"/>{}{}<text x="2" y="10">{}</text></svg>',
        label,
        WIDTH,
        HEIGHT + FOOT,
        HEIGHT,
        WIDTH,
        HEIGHT,
        drawn,
        labels,
        top,
    )
