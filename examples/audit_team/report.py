"""The report as one HTML page: no script, nothing from the network, and always the same bytes for the same results."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Any

from examples.audit_team import plots
from examples.audit_team.analysis import BANDS
from examples.audit_team.files import to_label
from examples.audit_team.ranking import RULE, ranked

RANKED_FILES = 25
PLOTTED_FILES = 12
LISTED_TODOS = 40

_STYLE = Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def build_report(title: str, results: list[dict[str, Any]]) -> str:
    """Write the page.

    Args:
        title: name of what was audited.
        results: checked results, in any order.
    """
    ranking = ranked(results)
    files = [figures for _, figures in ranking]
    parsed = [figures for figures in files if figures["status"] == "parsed"]
    analysts = len({figures["analyst"] for figures in files})
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Audit of {escape(title)}</title><style>{_STYLE}</style></head><body><main>",
        f"<h1>Audit of {escape(title)}</h1>",
        f"<p>{len(files):,} files, examined by {analysts} analysts, each result checked by a critic.</p>",
        _tiles(files, parsed),
        _plots(ranking, parsed),
        _ranking(ranking),
        _problems(files),
        _todos(parsed),
        "</main></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def with_run(page: str, rows: dict[str, str]) -> str:
    """The page with what happened while its agents worked on it.

    Args:
        page: of ``build_report``.
        rows: what was counted: name → figure.
    """
    cells = "".join(
        f"<tr><td class='t'>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows.items()
    )
    section = f'<section id="run"><h2>Meanwhile</h2><table>{cells}</table></section>\n'
    head, end = page.rsplit("</main>", 1)
    return f"{head}{section}</main>{end}"


def _total(files: list[dict[str, Any]], key: str) -> int:
    return sum(figures[key] for figures in files)


def _tiles(files: list[dict[str, Any]], parsed: list[dict[str, Any]]) -> str:
    public = _total(parsed, "public")
    documented = (public - _total(parsed, "undocumented")) * 100 / public if public else 0.0
    functions = _total(parsed, "functions")
    mean = _total(parsed, "complexity") / functions if functions else 0.0
    values = [
        (f"{_total(files, 'lines'):,}", "lines"),
        (f"{functions:,}", "functions"),
        (f"{_total(parsed, 'classes'):,}", "classes"),
        (f"{mean:.1f}", "mean complexity"),
        (f"{documented:.0f} %", "documented"),
        (f"{_total(parsed, 'todo_count'):,}", "TODOs"),
        (f"{len(files) - len(parsed):,}", "files not parsed"),
        (f"{sum(len(f['objections']) for f in files):,}", "objections"),
    ]
    tiles = "".join(f'<div class="tile"><b>{value}</b><span>{name}</span></div>' for value, name in values)
    return f'<div class="tiles">{tiles}</div>'


def _plot(title: str, note: str, svg: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{svg}<p><small>{escape(note)}</small></p></section>"


def _plots(ranking: list[tuple[int, dict[str, Any]]], parsed: list[dict[str, Any]]) -> str:
    if not parsed:
        return ""
    longest = sorted(parsed, key=lambda f: (-f["longest"][2], f["key"]))[:PLOTTED_FILES]
    lengths = [
        (f"{to_label(f['key'])}: {f['longest'][0]}", f["longest"][2], f"{f['longest'][2]} lines")
        for f in longest
        if f["longest"][2]
    ]
    worst = [(to_label(f["key"]), points, f"{points}") for points, f in ranking[:PLOTTED_FILES]]
    dots = [
        (f["lines"], f["complexity"], f"{to_label(f['key'])}: {f['lines']:,} lines, complexity {f['complexity']:,}")
        for f in sorted(parsed, key=lambda f: f["key"])
    ]
    sections = [
        _plot("Files that need attention", "Points; the rule stands below.", plots.bars("Points by file", worst)),
        _plot("Longest functions", "The longest function of each file.", plots.bars("Longest functions", lengths)),
        _plot(
            "Size and complexity",
            "Each dot is a file, on logarithmic axes. Dots far above the others decide much in few lines.",
            plots.scatter("Lines and complexity of each file", "lines", "complexity", dots),
        ),
        _plot(
            "Complexity of functions",
            "Cyclomatic complexity: 1, and 1 more for each branch.",
            plots.columns("Functions by complexity", list(zip(_band_names(), _bands(parsed), strict=True))),
        ),
        _plot(
            "Docstrings by folder",
            "Share of modules, public classes and public functions that have one.",
            plots.bars("Documented share by folder", _documented(parsed)),
        ),
    ]
    return f'<div class="plots">{"".join(sections)}</div>'


def _band_names() -> list[str]:
    starts = [1, *(end + 1 for end in BANDS)]
    return [f"{start}-{end}" for start, end in zip(starts, BANDS, strict=False)] + [f"{starts[-1]} and more"]


def _bands(parsed: list[dict[str, Any]]) -> list[int]:
    return [sum(counts) for counts in zip(*(f["bands"] for f in parsed), strict=True)]


def _documented(parsed: list[dict[str, Any]]) -> list[tuple[str, float, str]]:
    folders: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for f in parsed:
        first, separator, _ = to_label(f["key"]).partition("/")
        counts = folders[f"{first}/" if separator else "(top level)"]
        counts[0] += f["public"] - f["undocumented"]
        counts[1] += f["public"]
    shares = [(name, 100.0 * have / count, f"{100 * have / count:.0f} %") for name, (have, count) in folders.items()]
    return sorted(shares, key=lambda share: (share[1], share[0]))[:PLOTTED_FILES]


_COLUMNS = (
    ("", ""),
    ("file", "t"),
    ("points", ""),
    ("lines", ""),
    ("functions", ""),
    ("longest function", "t"),
    ("highest complexity", "t"),
    ("no docstring", ""),
    ("TODOs", ""),
)
"""Headings of the ranking with their CSS classes."""


def _row(tag: str, cells: list[str]) -> str:
    columns = zip(cells, _COLUMNS, strict=True)
    return (
        "<tr>" + "".join(f'<{tag} class="{css}" data-of="{of}">{cell}</{tag}>' for cell, (of, css) in columns) + "</tr>"
    )


def _ranking(ranking: list[tuple[int, dict[str, Any]]]) -> str:
    rows = []
    for place, (points, f) in enumerate(ranking[:RANKED_FILES], 1):
        name, line, length = f["longest"]
        hardest, _, complexity = f["most_complex"]
        rows.append(
            _row(
                "td",
                [
                    str(place),
                    f"<code>{escape(to_label(f['key']))}</code>",
                    str(points),
                    f"{f['lines']:,}",
                    f"{f['functions']:,}",
                    f"{length} lines <small>{escape(name)}, line {line}</small>" if length else "",
                    f"{complexity} <small>{escape(hardest)}</small>" if complexity else "",
                    str(f["undocumented"]),
                    str(f["todo_count"]),
                ],
            )
        )
    head = _row("th", [heading for heading, _ in _COLUMNS])
    table = (
        f'<div class="scroll"><table class="ranking"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
    return f"<section><h2>Ranking</h2>{table}<p><small>{escape(RULE)}</small></p></section>"


def _problems(files: list[dict[str, Any]]) -> str:
    items = []
    for f in sorted(files, key=lambda f: f["key"]):
        label = f"<code>{escape(to_label(f['key']))}</code>"
        if f["status"] != "parsed":
            items.append(f'<li>{label}: <span class="warn">{escape(f["status"])}</span>, {escape(f["detail"])}</li>')
        items += [f'<li>{label}: <span class="warn">objection</span>, {escape(text)}</li>' for text in f["objections"]]
    if not items:
        return ""
    return f"<section><h2>Files without figures, and objections</h2><ul>{''.join(items)}</ul></section>"


def _todos(parsed: list[dict[str, Any]]) -> str:
    found = [(f["key"], line, text) for f in parsed for line, text in f["todos"]]
    if not found:
        return ""
    listed = sorted(found)[:LISTED_TODOS]
    items = "".join(
        f"<li><code>{escape(to_label(key))}:{line}</code> {escape(text)}</li>" for key, line, text in listed
    )
    total = _total(parsed, "todo_count")
    more = f"<p><small>{total - len(listed)} more.</small></p>" if total > len(listed) else ""
    return f"<section><h2>TODOs</h2><ul>{items}</ul>{more}</section>"
