"""Tables and colours of commands; what agents wrote is shown escaped, never obeyed by the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from django.core.management.base import OutputWrapper
from django.utils import timezone
from rich.console import Console
from rich.table import Table
from rich.text import Text

from messaging.core.describing import visible

STATE_STYLES = {
    "running": "green",
    "completed": "green",
    "processed": "green",
    "parked": "bold red",
    "dead": "bold red",
    "open": "bold red",
    "rising": "bold red",
    "paused": "yellow",
    "held": "yellow",
    "pending": "yellow",
    "sent": "yellow",
    "leased": "cyan",
}
PLAIN_WIDTH = 160


def cell(value: Any, *, style: str = "") -> Text:
    """A value as text that no terminal takes as a command."""
    text = "" if value is None else str(value)
    return Text(visible(text).replace("\n", "⏎"), style=style or STATE_STYLES.get(text, ""))


def make_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """A table; numbers stand at the right.

    Args:
        head: titles of the columns.
        rows: of values or ``Text``.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    found = [list(row) for row in rows]
    for index, title in enumerate(head):
        numbers = bool(found) and all(isinstance(row[index], int) for row in found)
        table.add_column(title, justify="right" if numbers else "left", overflow="fold")
    for row in found:
        table.add_row(*(value if isinstance(value, Text) else cell(value) for value in row))
    return table


def console_for(output: OutputWrapper) -> Console:
    """A console on a command's output: coloured on a terminal, plain and wide in a file or pipe."""
    if output.isatty():
        return Console(file=output, highlight=False)  # type: ignore[arg-type]  # it writes like a file
    return Console(file=StringIO(), highlight=False, no_color=True, width=PLAIN_WIDTH)


def print_table(output: OutputWrapper, head: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print a table, or what to say when it has no rows."""
    found = list(rows)
    if not found:
        output.write(empty)
        return
    console = console_for(output)
    with console.capture() as captured:
        console.print(make_table(head, found))
    output.write("\n".join(line.rstrip() for line in captured.get().splitlines()))


def age(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, in its two largest units: ``"3 m 20 s"``."""
    if moment is None:
        return ""
    seconds = max(0, int(((now or timezone.now()) - moment).total_seconds()))
    for unit, size, next_unit, next_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} {seconds % size // next_size} {next_unit}"
    return f"{seconds} s"


def clock(moment: datetime) -> str:
    """A time of day to the millisecond, in the time zone of the settings."""
    local = timezone.localtime(moment) if timezone.is_aware(moment) else moment.replace(tzinfo=UTC)
    return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"
