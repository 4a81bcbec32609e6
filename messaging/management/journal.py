"""The journal of a saga or a two-phase commit, as commands show it."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.management.base import OutputWrapper

from messaging.transactions.journal import JournalLine


def write_journal(stdout: OutputWrapper, lines: Iterable[JournalLine]) -> None:
    """Write an entry a line."""
    for line in lines:
        change = f"{line.before} -> {line.after}" if line.after else ""
        detail = "" if line.detail == "{}" else line.detail
        stdout.write(
            f"{line.number:>5}  {line.at:%Y-%m-%d %H:%M:%S.%f}  {line.event:<14} {line.step:<20} {change:<22} "
            f"{line.actor}  {detail}"
        )
