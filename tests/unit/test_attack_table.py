"""The table of attacks names tests that exist, and the document has the table."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.attack import table
from tests.support.paths import ROOT


@cache
def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("test", sorted({test for attack in table.all_attacks() for test in attack.tests}))
def test_every_test_exists(test: str) -> None:
    path, _, name = test.partition("::")
    assert name in functions(path), f"tests/attack/registry.py names {test}, which is not there (any more)"


def test_every_attack_of_the_suite_is_in_the_table() -> None:
    named = {test for attack in table.all_attacks() for test in attack.tests}
    for file in sorted((ROOT / "tests" / "attack").glob("test_*.py")):
        path = f"tests/attack/{file.name}"
        assert {f"{path}::{name}" for name in functions(path) if name.startswith("test_")} <= named


def test_the_document_has_the_table() -> None:
    without_results = re.compile(r"\| [a-z, ]+ \| (?=\[)")
    expected, found = (without_results.sub("| | ", text) for text in (table.render({}), table.written()))
    assert found == expected, "docs/security.md is behind tests/attack/registry.py: run make attack"


def test_no_row_is_open() -> None:
    rows = [line for line in table.written().splitlines() if "](" in line]
    assert rows
    assert not [row for row in rows if "| withstood |" not in row]
