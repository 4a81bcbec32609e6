"""A chat's transcript as data, JSON and Markdown.

>>> transcript = Transcript([Entry(number=1, speaker="user", content="Write.", kind=Kind.TASK),
...                          Entry(number=2, speaker="writer", content="Done.", turn=1)])
>>> transcript.pairs()
[('user', 'Write.'), ('writer', 'Done.')]
>>> print(transcript.to_markdown())
**1. user** (task)
<BLANKLINE>
Write.
<BLANKLINE>
**2. writer**
<BLANKLINE>
Done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import msgspec

from agents.chat.rules.messages import NOTHING_USED, Entry, Kind, Usage, plain


class Transcript(Sequence[Entry]):
    """What was said, in order. Entry number N stands at index N - 1.

    Args:
        entries: of the chat.
        sub_chats: path → the entries of the sub-chat that was held there.
    """

    def __init__(self, entries: Sequence[Entry], sub_chats: dict[str, list[Entry]] | None = None) -> None:
        self._entries = tuple(entries)
        self.sub_chats = {path: Transcript(spoken) for path, spoken in (sub_chats or {}).items()}

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def pairs(self) -> list[tuple[str, str]]:
        """(speaker, content) of each entry."""
        return [(entry.speaker, entry.content) for entry in self._entries]

    def data(self, *, with_times: bool = True) -> list[dict[str, Any]]:
        """Plain JSON values; fields that say nothing are left out.

        Args:
            with_times: include when each entry was said. Without, two runs of the same chat give the same data.
        """
        entries = self._entries if with_times else [msgspec.structs.replace(entry, at=0.0) for entry in self._entries]
        return [plain(entry) for entry in entries]

    def to_json(self) -> str:
        """As a JSON array."""
        return msgspec.json.format(msgspec.json.encode(self._entries), indent=2).decode()

    def to_markdown(self) -> str:
        """For people: sub-chats are indented as quotations before the entry that they led to."""
        parts = []
        for entry in self._entries:
            sub_chat = self.sub_chats.get(str(entry.turn)) if entry.turn else None
            if sub_chat is not None:
                parts += ["\n".join(f"> {line}".rstrip() for line in sub_chat.to_markdown().splitlines())]
            remark = remark_on(entry)
            parts += [f"**{entry.number}. {entry.speaker}**" + (f" ({remark})" if remark else ""), entry.content]
        return "\n\n".join(parts)


def remark_on(entry: Entry) -> str:
    """What is to be known of an entry beside its words: its kind, who approved it, what it cost; empty for nothing."""
    remarks = [] if entry.kind is Kind.SAID else [str(entry.kind)]
    if entry.approved_by and entry.kind is Kind.SAID:
        remarks.append(f"approved by {entry.approved_by}" + (f": {entry.comment}" if entry.comment else ""))
    if entry.handoff:
        remarks.append(f"hands over to {entry.handoff}")
    if entry.usage != NOTHING_USED:
        remarks.append(_usage(entry.usage))
    return "; ".join(remarks)


def _usage(usage: Usage) -> str:
    cost = f", {usage.cost:.4g}" if usage.cost else ""
    return f"{usage.tokens} tokens{cost}"
