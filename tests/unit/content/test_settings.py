"""Content settings: typed values, and errors that name the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from messaging.core.errors import ContentRulesError
from messaging.security.content.changes import Treatment
from messaging.security.content.data import personal_rules, secret_rules
from messaging.security.content.settings import ContentLimits, load_settings, read_settings


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "content.yaml"
    file.write_text("secrets: refuse\nlimits:\n  default: {depth: 5}\n  types: {'chat.*': {string: 10}}\n")
    loaded = read_settings(file)
    assert loaded.secrets is Treatment.REFUSE
    assert loaded.type_limits == {"chat.*": ContentLimits(depth=5, string=10)}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"secret": "redact"}, "did you mean 'secrets'"),
        ({"secrets": "burn"}, "secrets: expected one of keep, redact, refuse"),
        ({"characters": {"controls": "keep"}}, "did you mean 'control'"),
        ({"personal": {"shoe-size": "redact"}}, "known are email"),
        ({"html": {"mail.*": "body"}}, "html.mail.*: expected a list of JSON pointers"),
        ({"html": {"mail..**": ["/x"]}}, "two stars"),
        ({"limits": {"default": {"depth": 65}}}, "limits.default.depth: expected a whole number from 1 to 64"),
        ({"limits": {"default": {"string": True}}}, "expected a whole number"),
        ({"patterns": [{"id": "a"}]}, "patterns[0]: a pattern needs 'regex'"),
        ({"patterns": [{"id": "a", "regex": "(?<=x)y"}]}, "patterns[0].regex: no pattern of RE2"),
        ({"patterns": [{"id": "a", "regex": "x*"}]}, "matches the empty text"),
        ({"patterns": [{"id": "a", "regex": "x", "colour": 1}]}, "no field of a pattern"),
        ({"patterns": [{"id": "a", "regex": "x"}] * 2}, "stands here twice"),
        ({"patterns": [{"id": "a", "regex": "x", "entropy": "high"}]}, "a number from 0 to 8"),
        (["x"], "expected a mapping"),
    ],
)
def test_errors_name_the_place(values: Any, words: str) -> None:
    with pytest.raises(ContentRulesError) as caught:
        load_settings(values)
    assert words in str(caught.value)


def test_errors_name_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "content.yaml"
    file.write_text("secrets: redact\npatterns:\n  - id: a\n    regex: '('\n")
    with pytest.raises(ContentRulesError, match=r"content\.yaml, line 4, patterns\[0\]\.regex: no pattern of RE2"):
        read_settings(file)
    with pytest.raises(ContentRulesError, match=r"nowhere\.yaml: cannot be read"):
        read_settings(tmp_path / "nowhere.yaml")


def test_the_rules_that_come_along_are_sound() -> None:
    rules = [*secret_rules(), *personal_rules()]
    assert len({rule.name for rule in rules}) == len(rules) > 50
    assert all(rule.description for rule in rules)
