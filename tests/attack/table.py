"""The table of attacks in docs/security.md."""

from __future__ import annotations

from collections.abc import Mapping

from tests.attack.registry import ATTACKS, OUT_OF_SCOPE, Attack
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- attacks: written by make attack -->", "<!-- end of attacks -->"


def all_attacks() -> list[Attack]:
    """Every attack, in the table's order."""
    return [attack for _, attacks in ATTACKS for attack in attacks]


def render(results: Mapping[str, str]) -> str:
    """The table.

    Args:
        results: test → "passed", "failed" or "skipped"; what is missing did not run.
    """
    lines = ["| attack | risk | what comes of it | result | tests |", "|---|---|---|---|---|"]
    for title, attacks in ATTACKS:
        lines.append(f"| **{title}** | | | | |")
        lines += [_row(attack, results) for attack in attacks]
    lines += ["", "Out of scope:", "", *(f"* {what}: {why}" for what, why in OUT_OF_SCOPE)]
    return "\n".join(lines)


def _row(attack: Attack, results: Mapping[str, str]) -> str:
    found = {results.get(test, "not run") for test in attack.tests}
    result = "withstood" if found == {"passed"} else ", ".join(sorted(found - {"passed"}))
    tests = ", ".join(_link(test) for test in attack.tests)
    return f"| {attack.name} | {attack.asi} | {attack.outcome} | {result} | {tests} |"


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})"


def written() -> str:
    """The table as the document has it.

    Raises:
        ValueError: the document lost its markers.
    """
    text = DOCUMENT.read_text(encoding="utf-8")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip()


def write(table: str) -> None:
    """Put a table into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    DOCUMENT.write_text(f"{text[:start]}\n{table}\n{text[end:]}", encoding="utf-8")
