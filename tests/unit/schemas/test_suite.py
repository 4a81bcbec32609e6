"""The public JSON Schema test suite, draft 2020-12, against the validator as it is set up here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from messaging.security.schemas.compiled import make_validator
from tests.support.corpora import find_corpus

EXPECTED_ELSEWHERE = "is only an annotation by default"
"""What the suite expects of ``format`` unless formats are asserted, as they are here: the cases that say so fail."""


def resources(folder: Path) -> dict[str, Any]:
    """The schemas that the suite expects under the address of a server."""
    return {
        f"http://localhost:1234/draft2020-12/{file.relative_to(folder)}": json.loads(file.read_bytes())
        for file in folder.rglob("*.json")
    }


@pytest.mark.timeout(60)
def test_the_suite_passes_but_for_the_exceptions_that_are_named() -> None:
    corpus = find_corpus("json-schema-test-suite")
    known = resources(corpus / "remotes" / "draft2020-12")
    total, exceptions, wrong = 0, 0, []
    for file in sorted((corpus / "tests" / "draft2020-12").glob("*.json")):
        for group in json.loads(file.read_bytes()):
            validator = make_validator(group["schema"], file.name, known)
            for case in group["tests"]:
                total += 1
                if validator.is_valid(case["data"]) == case["valid"]:
                    continue
                if file.name == "format.json" and EXPECTED_ELSEWHERE in case["description"]:
                    exceptions += 1
                else:
                    wrong.append(f"{file.name}: {group['description']}: {case['description']}")
    assert wrong == []
    assert (total, exceptions) == (1299, 19)
