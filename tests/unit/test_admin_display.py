"""How values look in the admin: nothing is hidden, nothing is markup, nothing is endless."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from messaging.admin.display import hex_dump, raw_bytes
from messaging.core.describing import visible
from tests.support.operators import EVIL


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a":"\xc3\xbc"}', "&quot;a&quot;: &quot;ü&quot;"),
        (b"plain", "plain"),
        (b"\xff\x00", "00000000  ff 00"),
        (b"", ""),
        (b"[" * 100_000, "more characters"),
        (b"[" * 20_000, "[[["),
        (b"\xff" * 100_000, "more bytes"),
        ("\u202etxt\u200b\x07".encode(), "\\u202etxt\\u200b\\x07"),
        (EVIL.encode(), "&lt;script&gt;"),
    ],
)
def test_raw_bytes(data: bytes, words: str) -> None:
    shown = raw_bytes(data)
    assert words in shown
    assert EVIL not in shown
    assert len(shown) < 400_000


@pytest.mark.parametrize("make", [visible, lambda text: hex_dump(text.encode())])
def test_nothing_is_hidden(make: Callable[[str], str]) -> None:
    assert "\u202e" not in make("\u202e\u2066")
