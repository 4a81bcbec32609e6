"""What is judged: one message, as rules see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from messaging.security.content.changes import escape_pointer
from messaging.security.verification.folding import fold


@dataclass(frozen=True, kw_only=True)
class VerificationSubject:
    """A message. Rules must not change its data.

    Args:
        id: of the delivery; the same at every redelivery.
        type: of the message.
        data: what it says.
        sender, recipient: agents; recipient may be empty.
        workflow: its id.
        teams: those that sender and recipient are both in.
        at: seconds since 1970, when it was sent.
    """

    id: str = ""
    type: str
    data: Any
    sender: str = ""
    recipient: str = ""
    workflow: str = ""
    teams: frozenset[str] = field(default_factory=frozenset)
    at: float = 0.0

    @cached_property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """(JSON pointer, text) of every string, and of every key that a sentence fits into."""
        return tuple(_texts(self.data, ""))

    @cached_property
    def folded(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """(JSON pointer, text, the text as patterns are tried on it: ``folding.fold``) of the same."""
        return tuple((pointer, text, tuple(fold(text))) for pointer, text in self.texts)

    def has(self, pointer: str) -> bool:
        """Tell whether there is something at a JSON pointer."""
        value = self.data
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and name in value:
                value = value[name]
            elif isinstance(value, list) and name.isdecimal() and int(name[:9]) < len(value):
                value = value[int(name)]
            else:
                return False
        return pointer == "" or pointer.startswith("/")


LONG_KEY = 20
"""Characters from which on a key is a text that rules read."""


def _texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"{pointer}/{escape_pointer(str(key))}"
            if len(str(key)) >= LONG_KEY:
                yield below, str(key)
            yield from _texts(item, below)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{pointer}/{number}")
