"""What the sanitizer takes out, what it leaves, and what it says of it."""

from __future__ import annotations

import base64
import hashlib
import random
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from messaging.security.content import sanitizing
from messaging.security.content.changes import Treatment
from messaging.security.content.matching import PatternRule, PatternSet
from messaging.security.content.sanitizing import Sanitizer
from messaging.security.content.settings import ContentSettings, load_settings
from tests.support.corpora import naughty_strings
from tests.unit.content.samples import SCRIPTS, SECRETS

SANITIZER = Sanitizer(ContentSettings(), b"key")
EVERYTHING = Sanitizer(
    load_settings(
        {
            "personal": {"email": "redact", "phone": "redact", "payment-card": "redact", "iban": "redact"},
            "html": {"mail.*": ["/body"]},
            "patterns": [{"id": "project", "regex": "(?i)project x"}],
        }
    ),
    b"key",
)


def clean(value: Any, type: str = "note") -> Any:
    """The cleaned data; nothing may be refused."""
    cleaned = SANITIZER.clean(type, value)
    assert not cleaned.refusals
    return cleaned.data


# --- unchanged ---


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_and_emoji_are_left_alone(script: str) -> None:
    data = {"text": SCRIPTS[script], SCRIPTS[script]: [SCRIPTS[script]]}
    assert SANITIZER.clean("note", data).data is data


@pytest.mark.parametrize(
    "text",
    [
        "| a | b |\n|---|---|\n| `<b>` | ~x~ |",
        "```python\nif a < b and c > d:\n\tprint('x')\r\n```\f\v",
        "https://user@example.com:8080/p%20a?q=1&r=%F0%9F%98%80#frag",
        "<script>alert(1)</script> is text where no HTML is",
        "\ufeffwith a byte order mark",
        "sha256:" + hashlib.sha256(b"x").hexdigest(),
        "0190f7c4-7b1a-7c3e-9d5c-8a4f3e2d1c0b",
        "data:image/png;base64," + base64.b64encode(bytes(range(256))).decode(),
        "password = os.environ['DATABASE_PASSWORD']",
        'api_key: "your-api-key-goes-here-1234"',
    ],
)
def test_code_markdown_and_addresses_are_left_alone(text: str) -> None:
    assert clean({"text": text}) == {"text": text}


def test_naughty_strings_are_left_alone_but_for_what_the_rules_are_about() -> None:
    changed = {text: SANITIZER.clean("note", text) for text in naughty_strings()}
    changed = {text: cleaned for text, cleaned in changed.items() if cleaned.data != text}
    rules = sorted({change.rule for cleaned in changed.values() for change in cleaned.changes})
    assert rules == ["bidi-override", "control", "tag-character"]
    assert len(changed) == 6  # C0, C1, every format character, two with terminal sequences, one with bells
    assert not any(cleaned.refusals for cleaned in changed.values())


def test_files_of_installed_packages_are_left_alone() -> None:
    root = Path(sysconfig.get_paths()["purelib"])
    found = sorted(path for ending in ("py", "md", "rst", "js") for path in root.rglob(f"*.{ending}"))
    order = {path: hashlib.sha256(str(path.relative_to(root)).encode()).digest() for path in found}
    checked = 0
    for path in sorted(found, key=lambda one: order[one]):
        try:
            text = path.read_bytes().decode()
        except UnicodeDecodeError:
            continue
        if 0 < len(text) <= 200_000 and path.name != "xregexp.min.js":  # which has raw control characters
            assert SANITIZER.clean("file", {"text": text}).data["text"] is text, path
            checked += 1
        if checked == 200:
            break
    assert checked == 200


# --- characters ---


@pytest.mark.parametrize(
    ("text", "expected", "rule"),
    [
        ("a\x00b", "ab", "control"),
        ("\x1b[31mred\x1b[0m", "red", "control"),
        ("\x1b]0;title\x07x\x1b]8;;http://a\x1b\\link", "xlink", "control"),
        ("\x1b\x1b[0m[31mx", "[31mx", "control"),
        ("a\x9b31mb", "ab", "control"),
        ("user\u202etxt.exe\u202c!", "usertxt.exe!", "bidi-override"),
        ("\u202bשלום\u202c \u202dx\u202c", "\u202bשלום\u202c x", "bidi-override"),
        ("hi\U000e0069\U000e0067\U000e006e", "hi", "tag-character"),
        ("🏴" + "".join(chr(0xE0000 + ord(c)) for c in "ignorethis") + "\U000e007f", "🏴", "tag-character"),
        ("x\ufe0f", "x", "variation-selector"),
        ("😀\ufe0f\U000e0101\U000e0102", "😀\ufe0f", "variation-selector"),
        ("😀\ufe05", "😀", "variation-selector"),
        ("\ufe0fx", "x", "variation-selector"),
    ],
)
def test_hidden_characters_are_removed(text: str, expected: str, rule: str) -> None:
    cleaned = SANITIZER.clean("note", {"t": text})
    assert cleaned.data == {"t": expected}
    assert {(change.rule, change.pointer) for change in cleaned.changes} == {(rule, "/t")}


def test_characters_can_be_kept_or_refused() -> None:
    sanitizer = Sanitizer(load_settings({"characters": {"control": "keep", "bidi-override": "refuse"}}))
    kept = sanitizer.clean("note", "a\x07")
    assert kept.data == "a\x07"
    assert [change.treatment for change in kept.changes] == [Treatment.KEEP]
    assert [refusal.rule for refusal in sanitizer.clean("note", "a\u202e").refusals] == ["bidi-override"]


# --- many at once ---


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("looked_at", [1, 300, 20_000])
def test_each_of_many_is_cleaned_as_if_alone(monkeypatch: pytest.MonkeyPatch, seed: int, looked_at: int) -> None:
    print(f"seed {seed}")
    monkeypatch.setattr(sanitizing, "LOOKED_AT", looked_at)
    source = random.Random(seed)
    texts = [*SECRETS.values(), *SCRIPTS.values(), "a\x07b", "plain", "x" * 2_000, "", "half of ghp_", "A" * 10**6]
    encoded = [base64.b64encode(f"the value: {secret}".encode()).decode() for secret in SECRETS.values()]
    messages = [
        (source.choice(["note", "mail.new", "no type"]), {"body": source.choice([*texts, *encoded, *["fine"] * 20])})
        for _ in range(60)
    ]
    for sanitizer in (SANITIZER, EVERYTHING):
        assert sanitizer.clean_all(messages) == [sanitizer.clean(*message) for message in messages]
    assert SANITIZER.clean_all([]) == []


# --- secrets ---


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_redacted_in_values_keys_and_base64(name: str) -> None:
    secret = SECRETS[name]
    wrapped = base64.b64encode(f"the value: {secret}".encode()).decode()
    cleaned = SANITIZER.clean("note", {"a": [f"use {secret} now"], f"{secret}": 1, "b": f"see {wrapped}."})
    told = repr(cleaned)
    assert cleaned.data["b"] == f"see [redacted:secret/{name}]."
    assert f"[redacted:secret/{name}]" in cleaned.data["a"][0]
    marks = [part for part in secret.replace("'", " ").replace(":", " ").replace("@", " ").split() if len(part) > 14]
    assert marks
    assert not [part for part in marks if part in told and "db.internal" not in part]
    assert wrapped not in told
    assert {change.rule for change in cleaned.changes} == {f"secret/{name}"}


def test_the_value_of_a_secrets_name_is_redacted() -> None:
    value = "fG7$kLm92Qz!xWvR4"
    cleaned = SANITIZER.clean("note", {"login": {"password": value}, "title": value})
    assert cleaned.data == {"login": {"password": "[redacted:secret/assigned]"}, "title": value}
    assert [change.pointer for change in cleaned.changes] == ["/login/password"]


def test_two_keys_that_become_one_both_stay() -> None:
    cleaned = clean({SECRETS["npm-token"]: 1, SECRETS["npm-token"].replace("aB", "cD"): 2})
    assert cleaned == {"[redacted:secret/npm-token]": 1, "[redacted:secret/npm-token] (2)": 2}


def test_secrets_can_be_refused_and_types_exempt() -> None:
    sanitizer = Sanitizer(load_settings({"secrets": "refuse", "exempt": {"vault.*": ["secret/*"]}}))
    data = {"t": SECRETS["github-token"]}
    assert [str(refusal) for refusal in sanitizer.clean("note", data).refusals] == ["/t: secret/github-token"]
    assert sanitizer.clean("vault.put", data).data is data


def test_digests_tell_the_same_find_again_and_only_with_the_key() -> None:
    first, second = (Sanitizer(ContentSettings(), key) for key in (b"one", b"two"))
    found = {"a": SECRETS["npm-token"], "b": SECRETS["npm-token"]}
    digests = [change.digest for change in first.clean("note", found).changes]
    assert digests[0] == digests[1] != second.clean("note", found).changes[0].digest


def test_personal_data_is_redacted_where_asked() -> None:
    text = "ann@corp.org, +49 30 1234567, 4111 1111 1111 1111, DE89 3704 0044 0532 0130 00; 4111 1111 1111 1112"
    assert EVERYTHING.clean("note", text).data == (
        "[redacted:personal/email], [redacted:personal/phone], [redacted:personal/payment-card], "
        "[redacted:personal/iban]; 4111 1111 1111 1112"
    )
    assert clean(text) == text


def test_own_patterns() -> None:
    assert EVERYTHING.clean("note", ["about Project X"]).data == ["about [redacted:own/project]"]


def test_own_patterns_may_be_anchored() -> None:
    sanitizer = Sanitizer(load_settings({"patterns": [{"id": "whole", "regex": "^top secret$"}]}))
    assert sanitizer.clean("note", ["top secret", "no top secret"]).data == ["[redacted:own/whole]", "no top secret"]


class _Silent:
    """A set of patterns that gave up: it finds nothing, and says nothing."""

    def Match(self, text: str) -> list[int]:  # noqa: N802 - as google-re2 calls it
        return []


def test_a_set_that_gives_up_makes_every_rule_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    patterns = PatternSet([PatternRule(name="x", regex="x[0-9]+"), PatternRule(name="y", regex="y[0-9]+")])
    assert patterns.candidates("a y1") == [1]
    monkeypatch.setattr(patterns, "_set", _Silent())
    assert patterns.candidates("a y1") == [0, 1]
    assert [match.rule for match in patterns.find("a y1")] == ["y"]


# --- HTML ---


def test_html_is_cleaned_in_the_fields_that_are_html() -> None:
    text = '<p onclick="x()">a &amp; b</p><script>steal()</script><a href="javascript:x()">l</a>'
    cleaned = EVERYTHING.clean("mail.sent", {"body": text, "subject": text})
    assert cleaned.data == {"body": '<p>a &amp; b</p><a rel="noopener noreferrer">l</a>', "subject": text}
    assert EVERYTHING.clean("note", {"body": text}).data == {"body": text}


# --- limits ---


@pytest.mark.parametrize(
    ("limits", "data", "rule"),
    [
        ({"text_bytes": 10}, {"a": "äöüäöü"}, "limit/text_bytes"),
        ({"depth": 3}, [[[[]]]], "limit/depth"),
        ({"items": 5}, list(range(6)), "limit/items"),
        ({"string": 5}, {"sixsix": 1}, "limit/string"),
        ({"string": 5}, ["sixsix"], "limit/string"),
    ],
)
def test_limits(limits: dict[str, int], data: Any, rule: str) -> None:
    sanitizer = Sanitizer(load_settings({"limits": {"types": {"small.*": limits}}}))
    assert [refusal.rule for refusal in sanitizer.clean("small.one", data).refusals] == [rule]
    assert not sanitizer.clean("other", data).refusals


def test_what_nests_without_end_is_refused_without_recursion() -> None:
    data: list[Any] = []
    for _ in range(100_000):
        data = [data]
    assert [refusal.rule for refusal in SANITIZER.clean("note", data).refusals] == ["limit/depth"]


# --- a second pass ---

_TOKEN = "ghp_aB3dE5gH7jK9mN1pQ3rS5tU7vW9xY1zA3bC5"
_TROUBLE = "\x1b [0m \x1b] \u202e \u202c \ufe0f \U000e0041 🏴 ghp_ <b> <scr ipt> &amp ; password = x @ a.org"
PIECES = st.sampled_from([*SECRETS.values(), *SCRIPTS.values(), *_TROUBLE.split(" "), '"', " ", "\n", "project "])
TEXTS = st.one_of(st.lists(PIECES, max_size=6).map("".join), st.text(max_size=40))
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.integers(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=120, deadline=None)
@given(VALUES, st.sampled_from(["note", "mail.sent"]))
@example({f"{_TOKEN}db_password = 'fG7$kLm92Qz!xWvR4'": _TOKEN, "": SCRIPTS["Mongolian"]}, "note")
def test_a_second_pass_changes_nothing(value: Any, type: str) -> None:
    once = EVERYTHING.clean(type, value)
    if once.refusals:
        return
    again = EVERYTHING.clean(type, once.data)
    assert again.data == once.data
    assert not again.changes
    assert not again.refusals
