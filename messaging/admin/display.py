"""How values look in the admin. Whatever agents wrote is shown as text: escaped, bounded, nothing in it hidden."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from messaging.core.describing import visible
from messaging.core.envelope_rules import ENCRYPTED_DATA
from messaging.operators.times import moment as moment
from messaging.operators.times import time_column as time_column
from messaging.operators.times import time_field as time_field
from messaging.security.encryption.payloads import HIDDEN

MAX_TEXT = 50_000
MAX_HEX = 4_096
MAX_PARSED = 1_048_576
BYTES_A_LINE = 16

STATE_CLASSES = {
    "running": "good",
    "completed": "good",
    "processed": "good",
    "replayed": "good",
    "done": "good",
    "parked": "bad",
    "dead": "bad",
    "open": "bad",
    "paused": "waiting",
    "held": "waiting",
    "pending": "waiting",
    "sent": "waiting",
    "leased": "waiting",
    "quarantined": "waiting",
    "waiting": "waiting",
    "asked": "waiting",
    "released": "good",
    "rejected": "bad",
    "at work": "good",
    "silent": "bad",
}


def state(value: str, label: str = "") -> SafeString:
    """A state as a coloured word."""
    return format_html('<span class="nexus-state {}">{}</span>', STATE_CLASSES.get(value, ""), label or value)


def link(target: Model | None, text: str = "") -> SafeString | str:
    """A link to a row's page, or a dash."""
    if target is None:
        return "-"
    return link_to(type(target), target.pk, text or str(target))


def link_to(model: type[Model], key: Any, text: str) -> SafeString:
    """A link to the page of the row with that key."""
    url = reverse(f"admin:nexus_{model._meta.model_name}_change", args=[key])
    return format_html('<a href="{}">{}</a>', url, text)


def block(text: str) -> SafeString:
    """Long text with its lines kept."""
    shown = visible(text[:MAX_TEXT])
    if len(text) > MAX_TEXT:
        shown += f"\n… {len(text) - MAX_TEXT} more characters"
    return format_html('<pre class="nexus-block" tabindex="0">{}</pre>', shown)


def traceback(text: str) -> SafeString | str:
    """A traceback: what happened first, which its last line says, then where; never without its end."""
    if not text:
        return "-"
    left_out = len(text) - MAX_TEXT
    shown = text if left_out <= 0 else f"… {left_out} characters before\n{text[left_out:]}"
    return format_html('<p class="nexus-last-line">{}</p>{}', last_line(text), block(shown[-MAX_TEXT:]))


def last_line(text: str) -> str:
    """The last line of a traceback, which says what happened, at most 200 characters."""
    lines = text.strip().splitlines()
    return visible(lines[-1][:200]) if lines else ""


def said_by(detail: str) -> str:
    """What an error said: all that stands behind the last frame of its traceback, however many lines it has."""
    lines = detail.strip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    first = frames[-1] + 1 if frames else 0
    while frames and first < len(lines) and lines[first].startswith("    "):
        first += 1
    return "\n".join(lines[first:])


def data_of(body: bytes | memoryview) -> SafeString:
    """The data of an envelope, indented; the bytes as they are where they are no envelope."""
    try:
        envelope = json.loads(bytes(body)[:MAX_PARSED])
    except (ValueError, RecursionError):
        return raw_bytes(body)
    if not isinstance(envelope, dict) or "data" not in envelope:
        return raw_bytes(body)
    return block(HIDDEN) if envelope.get("datacontenttype") == ENCRYPTED_DATA else pretty_json(envelope["data"])


def pretty_json(value: Any) -> SafeString:
    """A JSON value, indented."""
    return block(json.dumps(value, indent=2, ensure_ascii=False))


def hex_dump(data: bytes) -> str:
    """Bytes as lines of offset, hexadecimal and ASCII."""
    lines = []
    for start in range(0, min(len(data), MAX_HEX), BYTES_A_LINE):
        part = data[start : start + BYTES_A_LINE]
        readable = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<{3 * BYTES_A_LINE}} {readable}")
    if len(data) > MAX_HEX:
        lines.append(f"… {len(data) - MAX_HEX} more bytes")
    return "\n".join(lines)


def raw_bytes(stored: bytes | memoryview) -> SafeString:
    """Bytes of unknown origin: as indented JSON or text where they are that, otherwise in hexadecimal."""
    data = bytes(stored)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return format_html('<pre class="nexus-block nexus-hex" tabindex="0">{}</pre>', hex_dump(data))
    try:
        return pretty_json(json.loads(text)) if len(text) <= MAX_TEXT else block(text)
    except (ValueError, RecursionError):
        return block(text)


def table(head: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> SafeString | str:
    """A small table, or what to say when there are no rows."""
    body = [format_html("<tr>{}</tr>", format_html_join("", "<td>{}</td>", ((cell,) for cell in row))) for row in rows]
    if not body:
        return empty
    return format_html(
        '<div class="nexus-scroll" tabindex="0"><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>',
        format_html_join("", "<th>{}</th>", ((cell,) for cell in head)),
        format_html_join("", "{}", ((row,) for row in body)),
    )
