"""What a later release of this code might be, loaded by NEXUS_AGENTS into some of the processes of an installation.

It knows a header that this release does not and a column that a migration added before it (``nexus_message.tone``,
nullable), and fills both. What comes from this release has neither. NEWER_CODE_SEEN names a file: a line for each
message that it handles, with the header's value and the column's.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection, models

from messaging import log
from messaging.core.ids import message_id_of
from messaging.core.messages import Outgoing
from messaging.models import Message
from messaging.receiving.ordering import Ready
from messaging.receiving.transactional import execution
from messaging.receiving.transactional.calling import run_handler
from messaging.sending import outbox
from messaging.transport import wire

HEADER, VALUE = "tone", "calm"
NONE = "none"


def _write(message: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE nexus_message SET tone = %s WHERE id = %s", [VALUE, message])


def _install() -> None:
    models.CharField(max_length=20, null=True).contribute_to_class(Message, "tone")
    headers, insert, make = wire._headers, outbox.Burst.insert, outbox.make

    def with_tone(task: str, identifier: str, **own: Any) -> dict[str, Any]:
        return {**headers(task, identifier, **own), HEADER: VALUE}

    def insert_with_tone(burst: outbox.Burst) -> outbox.Stored:
        stored = insert(burst)
        for delivery in stored.deliveries:
            _write(message_id_of(delivery.id))
        return stored

    def make_with_tone(*arguments: Any, **options: Any) -> outbox.Burst:
        burst = make(*arguments, **options)
        insert_with_tone(burst)
        return replace(burst, messages=[], delivery_rows=[])

    def run(ready: Ready, now: datetime, states: dict[log.StateKey, dict[str, Any]]) -> list[Outgoing]:
        received = ready.passage.received
        came = (received.headers.get(HEADER) or NONE) if received is not None else NONE
        row = Message.objects.get(pk=ready.passage.envelope.message_id)
        stored = getattr(row, "tone")  # noqa: B009 - mypy knows no such field
        with Path(os.environ["NEWER_CODE_SEEN"]).open("a", encoding="utf-8") as file:
            file.write(f"{came} {stored or NONE}\n")
        return run_handler(ready, now, states)

    wire._headers = with_tone
    setattr(outbox.Burst, "insert", insert_with_tone)  # noqa: B010 - it is not for others
    outbox.make = make_with_tone
    setattr(execution, "run_handler", run)  # noqa: B010 - it is not for others


_install()
