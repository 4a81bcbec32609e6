"""Labels: shown beside each message, with the messages that brought them in and the acts that lowered them."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin
from messaging.core.errors import EnvelopeError
from messaging.models import LabelEndorsement, Message
from messaging.security.labels.tracing import parse_stored, trace

MAX_DRAWN = 50
"""Messages of one chain."""


def shown_labels(message: Message) -> str:
    """A message's labels, and what they count as since somebody lowered them."""
    try:
        labels = parse_stored(bytes(message.envelope)).labels or "none: trusted and public"
    except EnvelopeError:
        return "its envelope cannot be read"
    acts = LabelEndorsement.objects.filter(message_id=message.pk).order_by("pk")
    return "; ".join([labels, *(f"{act.kind} by {act.who}: {act.reason} → {act.after or 'none'}" for act in acts[:20])])


def draw_chains(message: Message) -> SafeString | str:
    """By which messages each label came in, from this one back."""
    try:
        chains = trace(message.pk)
    except EnvelopeError:
        return "its envelope, or an earlier one, cannot be read"
    drawn = format_html_join(
        "",
        "<p><strong>{}</strong></p><ol>{}</ol>",
        (
            (
                chain.label,
                format_html_join(
                    "",
                    "<li>{} from {} to {}: {}</li>",
                    (
                        (
                            display.link_to(Message, link.message_id, f"#{link.sequence} {link.type}"),
                            link.source,
                            link.subject,
                            link.how,
                        )
                        for link in chain.links[:MAX_DRAWN]
                    ),
                ),
            )
            for chain in chains
        ),
    )
    return drawn or "-"


@admin.register(LabelEndorsement)
class LabelEndorsementAdmin(LogAdmin):
    """Who lowered the labels of which message, and why."""

    list_display = ("message_id", "kind", "who", "reason", "before", "after", display.time_column("at", "at"))
    list_filter = ("kind",)
    id_searches = ("message_id",)
    word_searches = ("who",)
    search_help_text = "A message's id; or who did it, exactly."
    fields = ("message_id", "kind", "who", "reason", "before", "after", "at")
    readonly_fields = fields
