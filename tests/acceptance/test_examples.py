"""The examples run as their users run them, and say what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

pytestmark = pytest.mark.whole

EXPECTED = {
    "debate": ["VERDICT: pro wins.", "The same team in legacy mode says the same."],
    "labels": ["Paid by number. By words: payer does not accept origin:web", "Paid by words, because anna said so."],
    "support_triage": ["approved by leader: last time this year", "ended: closing stopped the chat"],
    "travel_booking": [
        "Rome: completed {'paid': 440}",
        "Oslo: compensated payment: the card is refused: 1280 EUR",
        "Bern: completed {'paid': 320}",
        "undone(hotel) undo_started(flight) undone(flight) compensated()",
        "Genoa: completed {'paid': 200}  {'flight': 'done', 'hotel': 'left_out', 'payment': 'done'}",
        "Lima: compensated",
    ],
    "travel_team": ["ended: planner stopped the chat", "With a smaller budget: 0.005 of 0.004 spent"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    script = ROOT / "examples" / f"{name}.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) < 120
    ended = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "EXAMPLES_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    logs = "".join(log.read_text(errors="replace")[-2_000:] for log in tmp_path.glob("*/*.log"))
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}{logs}"
    for words in EXPECTED[name]:
        assert words in ended.stdout
