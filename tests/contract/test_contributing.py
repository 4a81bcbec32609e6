"""The worked example of CONTRIBUTING.md: a check is one file and one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from messaging.gate import receiving as gate
from messaging.models import DeadLetter
from tests.support.lab import Lab

PAGE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def example() -> dict[str, Any]:
    found = re.search(r"```python\n(# messaging/gate/steps/.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(compile(found[1], str(PAGE), "exec"), names)
    return names


def test_a_check_is_one_file_and_one_line(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    names = example()
    lab.agent("a")
    late, early = lab.workflow(), lab.workflow()
    lab.send(late, "a")
    names["OPENED"] = names["OPENED"].replace(year=3000)
    monkeypatch.setattr(gate, "RECEIVING", (*gate.RECEIVING, names["not_before"]))
    lab.settle()
    letter = DeadLetter.objects.get()
    assert letter.workflow_id == late
    assert "is before" in letter.detail
    names["OPENED"] = names["OPENED"].replace(year=2020)
    lab.send(early, "a")
    lab.settle()
    assert lab.ledger.handled(early, "a") == [1]
