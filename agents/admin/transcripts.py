"""What was said in a chat, and where to look further, as the admin's pages show it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents.chat.hosts.durable import DurableHost
from agents.chat.rules.errors import UnknownChat
from agents.chat.rules.messages import Entry
from agents.chat.rules.transcript import Transcript, remark
from messaging.api import ReliableCommunicationBus
from messaging.extension import moment

MAX_ENTRIES = 200
"""Of a transcript, the last ones."""


def places_of(workflow: UUID, *, chat: bool = True) -> SafeString:
    """Links to the pages of a workflow that this site has."""
    wanted = [("workflow", "admin:nexus_workflow_change"), ("live page", "nexus_live:page")]
    if chat:
        wanted.insert(1, ("chat", "admin:nexus_agents_chatsession_change"))
    found = []
    for title, name in wanted:
        try:
            found.append((reverse(name, args=[workflow]), title))
        except NoReverseMatch:
            continue
    return format_html_join(" · ", '<a href="{}">{}</a>', found)


def transcript_of(workflow: UUID) -> SafeString | str:
    """What was said in a chat, as a page shows it; members' text is escaped, and stays as it is."""
    try:
        spoken = DurableHost(ReliableCommunicationBus()).transcript(workflow)
    except UnknownChat:
        return "It is no chat."
    return _entries(spoken) if len(spoken) else "Nothing was said yet."


def _entries(spoken: Transcript) -> SafeString:
    left_out = max(0, len(spoken) - MAX_ENTRIES)
    shown = format_html_join("", "{}", ((_entry(entry, spoken),) for entry in spoken[left_out:]))
    note = format_html("<p>{} earlier entries are not shown.</p>", left_out) if left_out else ""
    return format_html('{}<div class="nexus-transcript" tabindex="0">{}</div>', note, shown)


def _entry(entry: Entry, spoken: Transcript) -> SafeString:
    sub_chat = spoken.sub_chats.get(str(entry.turn)) if entry.turn else None
    return format_html(
        '{}<p class="nexus-speaker"><b>{}. {}</b> {}</p><div class="nexus-said">{}</div>',
        "" if sub_chat is None else format_html("<blockquote>{}</blockquote>", _entries(sub_chat)),
        entry.number,
        entry.speaker,
        f"{remark(entry)} {moment(datetime.fromtimestamp(entry.at, UTC)) if entry.at else ''}".strip(),
        entry.content,
    )
