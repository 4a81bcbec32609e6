"""A chat's transcript as data, JSON and Markdown.

>>> transcript = Transcript([Said(number=1, speaker="user", content="Write.", kind=Kind.TASK),
...                          Said(number=2, speaker="writer", content="Done.", turn=1)])
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

from agents.chat.messages import NOTHING_USED, Kind, Said, Usage, plain


class Transcript(Sequence[Said]):
    """What was said, in order. Entry number N stands at index N - 1.

    Args:
        entries: of the chat.
        sub_chats: path → the entries of the sub-chat that was held there.
    """

    def __init__(self, entries: Sequence[Said], sub_chats: dict[str, list[Said]] | None = None) -> None:
        self._entries = tuple(entries)
        self.sub_chats = {path: Transcript(said) for path, said in (sub_chats or {}).items()}

    @overload
    def __getitem__(self, index: int) -> Said: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Said]: ...
    def __getitem__(self, index: int | slice) -> Said | Sequence[Said]:
        return self._entries[index]

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Said]:
        return iter(self._entries)

    def pairs(self) -> list[tuple[str, str]]:
        """(speaker, content) of each entry."""
        return [(said.speaker, said.content) for said in self._entries]

    def data(self, *, with_times: bool = True) -> list[dict[str, Any]]:
        """Plain JSON values; fields that say nothing are left out.

        Args:
            with_times: include when each entry was said. Without, two runs of the same chat give the same data.
        """
        entries = self._entries if with_times else [msgspec.structs.replace(said, at=0.0) for said in self._entries]
        return [plain(said) for said in entries]

    def to_json(self) -> str:
        """As a JSON array."""
        return msgspec.json.format(msgspec.json.encode(self._entries), indent=2).decode()

    def to_markdown(self) -> str:
        """For people: sub-chats are indented as quotations before the entry that they led to."""
        parts = []
        for said in self._entries:
            sub_chat = self.sub_chats.get(str(said.turn)) if said.turn else None
            if sub_chat is not None:
                parts += ["\n".join(f"> {line}".rstrip() for line in sub_chat.to_markdown().splitlines())]
            parts += [f"**{said.number}. {said.speaker}**{_remark(said)}", said.content]
        return "\n\n".join(parts)


def _remark(said: Said) -> str:
    remarks = [] if said.kind is Kind.SAID else [str(said.kind)]
    if said.approved_by and said.kind is Kind.SAID:
        remarks.append(f"approved by {said.approved_by}" + (f": {said.comment}" if said.comment else ""))
    if said.handoff:
        remarks.append(f"hands over to {said.handoff}")
    if said.usage != NOTHING_USED:
        remarks.append(_usage(said.usage))
    return f" ({'; '.join(remarks)})" if remarks else ""


def _usage(usage: Usage) -> str:
    cost = f", {usage.cost:.4g}" if usage.cost else ""
    return f"{usage.tokens} tokens{cost}"
