"""What is kept of an error."""

from __future__ import annotations

from messaging.core.describing import MAX_DETAIL, MAX_MESSAGE, describe_error, place_in


def raised(message: str) -> ValueError:
    try:
        raise ValueError(message)
    except ValueError as error:
        return error


def test_a_short_error_is_kept_whole_with_its_place() -> None:
    detail = describe_error(raised("no"))
    assert detail.startswith("Traceback (most recent call last):\n")
    assert detail.endswith("ValueError: no\n")
    assert place_in(detail).endswith("test_describing.py:10 in raised")


def test_a_long_error_keeps_its_beginning_and_says_how_much_is_missing() -> None:
    detail = describe_error(raised("y" * (MAX_MESSAGE + 1000)))
    left_out = len("ValueError: ") + 1000 + len("\n")
    assert detail.endswith(f"y… {left_out} more characters")
    assert "ValueError: y" in detail
    assert len(detail) <= MAX_DETAIL
