"""The audit team's own rules, without any process: a demo that cannot see a mistake proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.audit_team.analysis import Analysis, analyse
from examples.audit_team.criticism import objections
from examples.audit_team.files import list_files, read_file, to_key, to_label, to_path
from examples.audit_team.report import build_report

SOURCE = b'''"""Documented."""


class Open:
    def method(self, items):
        """Documented."""
        for item in items:  # TODO: shorten
            if item and item > 3:
                return [n for n in items if n]

    def _private(self):
        pass


def function():
    def inner():
        if True:
            pass
'''


def test_figures_of_a_file() -> None:
    found = analyse(SOURCE)
    assert (found.status, found.lines, found.functions, found.classes) == ("parsed", 18, 4, 1)
    assert found.longest == ["Open.method", 5, 5]
    # 1, for, if, and, the comprehension, its if
    assert found.most_complex == ["Open.method", 5, 6]
    assert found.complexity == 6 + 1 + 1 + 2
    assert found.bands == [3, 1, 0, 0]
    assert (found.public, found.undocumented, found.missing) == (4, 2, ["Open", "function"])
    assert found.todos == [[7, "TODO: shorten"]]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", "parsed"),
        (b"\xef\xbb\xbfa = 1\n", "parsed"),
        (b"# coding: latin-1\na = '\xe9'\n", "parsed"),
        (b"a = '\xe9'\n", "not text"),
        (b"# coding: nonsense\n", "not text"),
        (b"def broken(:\n", "syntax error"),
        (b"a = 1\x00\n", "syntax error"),
        (b"a = " + b"-" * 100_000 + b"1\n", "nested too deeply"),
    ],
)
def test_a_file_that_does_not_parse_is_a_finding(content: bytes, status: str) -> None:
    found = analyse(content)
    assert found.status == status
    assert bool(found.detail) == (status != "parsed")


def test_names_of_any_bytes_survive(tmp_path: Path) -> None:
    raw = b"odd \xff%41 <b>.py"
    (Path(str(tmp_path)) / to_path(Path(), "%6f" + "k.py")).write_text("a = 1\n")
    to_path(tmp_path, "odd %FF%2541 %3Cb%3E.py").write_bytes(b"b = 2\n")
    keys = list_files(tmp_path, 10)
    assert keys == ["odd %FF%2541 %3Cb%3E.py", "ok.py"]
    assert bytes(to_path(tmp_path, keys[0]).name, "utf-8", "surrogateescape") == raw
    assert to_key(to_path(Path(), keys[0])) == keys[0]
    assert to_label(keys[0]) == "odd \\xff%41 <b>.py"
    assert read_file(to_path(tmp_path, keys[0])).content == b"b = 2\n"


def test_critic_finds_what_does_not_fit() -> None:
    figures = {**analyse(SOURCE).as_data(), "key": "a.py", "sha256": "aa", "size": 5}
    expected = {"sha256": "aa", "size": 5}
    assert objections(figures, expected) == []
    assert objections(figures, None) == ["the planner never named this file"]
    assert objections(figures, {"sha256": "bb", "size": 5}) == ["the file changed between planning and analysis"]
    wrong = {
        "bands": [0, 0, 0, 0],
        "complexity": 2,
        "longest": ["f", 17, 9],
        "undocumented": 9,
        "public": 50,
        "missing": [],
        "todos": [[99, "x"]],
    }
    for key, value in wrong.items():
        assert objections({**figures, key: value}, expected), key


def test_report_does_not_depend_on_the_order_of_results() -> None:
    results = [
        {**analyse(SOURCE).as_data(), "key": f"{name}.py", "analyst": "analyst-1", "objections": []} for name in "bca"
    ]
    results.append(
        {**Analysis("not readable", "<why>").as_data(), "key": "d.py", "analyst": "analyst-2", "objections": ["<odd>"]}
    )
    page = build_report("<title>", results)
    assert page == build_report("<title>", results[::-1])
    assert "Audit of &lt;title&gt;" in page
    assert "&lt;why&gt;" in page
    assert "&lt;odd&gt;" in page
