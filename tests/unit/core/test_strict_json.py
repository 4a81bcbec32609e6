"""Strict JSON by itself; the envelope's tests cover it through the envelope."""

from __future__ import annotations

import time

import pytest

from messaging.core.errors import EnvelopeError
from messaging.core.strict_json import MAX_DEPTH, describe, find_flaw, is_too_deep, loads
from tests.unit.core.samples import brief


@pytest.mark.parametrize(("opened", "too_deep"), [(MAX_DEPTH, False), (MAX_DEPTH + 1, True)])
def test_depth_counts_what_stands_inside_each_other(opened: int, too_deep: bool) -> None:
    assert is_too_deep(b"[" * opened + b"]" * opened) is too_deep
    assert is_too_deep(b'{"a":' * opened + b"1" + b"}" * opened) is too_deep
    assert not is_too_deep(b"[" + b"[]," * 10 * opened + b"1]")
    assert not is_too_deep(b'"' + b"[" * 10 * opened + b'"')
    assert not is_too_deep(b'"\\"' + b"[" * 10 * opened + b'"')
    assert is_too_deep(b'"\\\\"' + b"[" * opened) is too_deep


@pytest.mark.parametrize(
    "body",
    [b'"' + b'\\"' * 500_000, b'"' * 1_000_000, b'"\\' * 500_000, b"[" * 1_000_000, b"[]" * 500_000, b'"a' * 500_000,
     b"9" * 1_000_000, b"{" * 100 + b'"' + b'\\"' * 500_000, b"[" * 100 + b'"' + b"\\" * 999_999],
    ids=brief,
)  # fmt: skip
def test_hostile_texts_take_linear_time(body: bytes) -> None:
    start = time.process_time()
    is_too_deep(b"[" * 65 + b"]" * 65 + body)
    with pytest.raises(EnvelopeError):
        loads(body)
    assert time.process_time() - start < 5, "a quadratic scan takes minutes"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is empty; expected a JSON object"),
        (b"\xef\xbb\xbf{}", "starts with a byte order mark; expected UTF-8 without one"),
        (b"{}x", "is not JSON at character 2: Extra data"),
        (b"NaN", "NaN is not JSON"),
    ],
)
def test_error_about_the_whole_text_says_what_is_wrong(body: bytes, problem: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        loads(body)
    assert (caught.value.attribute, caught.value.problem) == ("envelope", problem)


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.5, "text", [], {}, [1, {"a": [None]}]])
def test_plain_values_have_no_flaw(value: object) -> None:
    assert find_flaw(value) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        ("x" * 1000, "the string '" + "x" * 60 + "…'"),
        (2**64 - 1, "the integer 18446744073709551615"),
        (10**100_000, "an integer of 332193 bits"),
        (0.5, "the number 0.5"),
        ({}, "an object"),
        ([], "an array"),
        (b"", "a Python bytes"),
    ],
    ids=brief,
)
def test_values_are_described_briefly(value: object, words: str) -> None:
    assert describe(value) == words
