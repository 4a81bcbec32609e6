"""The graph of who can reach whom as SVG: agents on a circle, teams in colours, no program needed."""

from __future__ import annotations

from html import escape
from math import cos, pi, sin

from messaging.core.errors import AccessPolicyError
from messaging.security.access.graph import Edge, Reach
from messaging.security.access.policy import ANY

MAX_DRAWN = 60
"""Agents; a picture of more shows nothing."""
MAX_LABEL = 24
_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#a463f2", "#97bbf5", "#9c6b4e")
_NO_TEAM = "#888888"
_NODE = 8


def draw(reach: Reach) -> str:
    """Draw a graph.

    An arrow stands for a right to send; a dashed one holds only at times. Pointing at it shows the types.

    Raises:
        AccessPolicyError: it has too many agents.
    """
    if len(reach.agents) > MAX_DRAWN:
        raise AccessPolicyError(
            f"a picture of {len(reach.agents)} agents shows nothing; choose at most {MAX_DRAWN}, or ask for JSON"
        )
    names = sorted(reach.agents, key=lambda name: (reach.agents[name], name))
    teams = sorted({team for teams in reach.agents.values() for team in teams})
    colours = {team: _COLOURS[number % len(_COLOURS)] for number, team in enumerate(teams)}
    radius = 120 + 12 * len(names)
    centre = radius + 180
    places = {
        name: (
            centre + radius * cos(2 * pi * number / max(1, len(names)) - pi / 2),
            centre + radius * sin(2 * pi * number / max(1, len(names)) - pi / 2),
        )
        for number, name in enumerate(names)
    }
    size = 2 * centre
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}" '
        'font-family="sans-serif" font-size="13">',
        "<title>Who can reach whom</title>",
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="#555"/></marker></defs>',
        f'<rect width="{size}" height="{size}" fill="white"/>',
    ]
    lines += [_arrow(edge, places, centre) for edge in reach.edges]
    for name in names:
        own = reach.agents[name]
        lines.append(_node(name, own, colours[own[0]] if own else _NO_TEAM, places[name], centre))
    for number, team in enumerate(teams):
        lines.append(
            f'<circle cx="20" cy="{20 + 20 * number}" r="6" fill="{colours[team]}"/>'
            f'<text x="32" y="{25 + 20 * number}">{_label(team)}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _arrow(edge: Edge, places: dict[str, tuple[float, float]], centre: float) -> str:
    (x1, y1), (x2, y2) = places[edge.sender], places[edge.recipient]
    # Bent to the sender's left, so that the two directions lie side by side.
    bend_x, bend_y = (x1 + x2) / 2 + (y2 - y1) * 0.12, (y1 + y2) / 2 - (x2 - x1) * 0.12
    length = ((x2 - bend_x) ** 2 + (y2 - bend_y) ** 2) ** 0.5 or 1.0
    x2, y2 = x2 - (x2 - bend_x) / length * _NODE, y2 - (y2 - bend_y) / length * _NODE
    dashed = ' stroke-dasharray="6 4"' if edge.conditional else ""
    width = 1.6 if edge.types == (ANY,) else 0.9
    words = f"{edge.sender} → {edge.recipient}: {', '.join(edge.types)}" + (" (at times)" if edge.conditional else "")
    return (
        f'<path d="M{x1:.1f} {y1:.1f}Q{bend_x:.1f} {bend_y:.1f} {x2:.1f} {y2:.1f}" fill="none" stroke="#555" '
        f'stroke-opacity="0.7" stroke-width="{width}"{dashed} marker-end="url(#arrow)">'
        f"<title>{escape(words)}</title></path>"
    )


def _node(name: str, teams: tuple[str, ...], colour: str, place: tuple[float, float], centre: float) -> str:
    x, y = place
    right = x >= centre - 1
    shift, anchor = (14, "start") if right else (-14, "end")
    title = f"{name}: {', '.join(teams) or 'no team'}"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_NODE}" fill="{colour}"><title>{escape(title)}</title></circle>'
        f'<text x="{x + shift:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{_label(name)}</text>'
    )


def _label(name: str) -> str:
    return escape(name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - 1]}…")
