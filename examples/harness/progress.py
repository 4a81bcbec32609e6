"""What people see: one line that changes on a terminal, lines now and then elsewhere, and tables at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from time import monotonic

_EVERY = 2.0
"""Seconds between two lines where output is no terminal."""


class Progress:
    """Prints to standard output."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._began = monotonic()
        self._printed_at = float("-inf")
        self._line_open = False

    def update(self, text: str) -> None:
        """Show where things stand; replaces the last such line on a terminal."""
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r{self._stamp(text)[:width]:<{width}}", end="", flush=True)
            self._line_open = True
        elif monotonic() - self._printed_at >= _EVERY:
            self._printed_at = monotonic()
            print(self._stamp(text), flush=True)

    def event(self, text: str) -> None:
        """Show something that happened; it stays."""
        self.close()
        print(self._stamp(text), flush=True)

    def close(self) -> None:
        """End the line that changes."""
        if self._line_open:
            print()
            self._line_open = False

    def _stamp(self, text: str) -> str:
        return f"{monotonic() - self._began:5.1f} s  {text}"


def bar(done: int, total: int, width: int = 24) -> str:
    """A bar of text."""
    full = width * done // total if total else 0
    return "█" * full + "░" * (width - full)


def print_table(title: str, rows: Mapping[str, object]) -> None:
    """Print two columns."""
    width = max(len(name) for name in rows)
    print(f"\n{title}")
    for name, value in rows.items():
        shown = f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
        print(f"  {name:<{width}}  {shown:>10}")


def print_list(title: str, lines: Sequence[str]) -> None:
    """Print a heading and lines below it."""
    print(f"\n{title}")
    for line in lines:
        print(f"  {line}")
