"""The log: messages, deliveries, mailboxes and processed-IDs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin, PeriodFilter, WorkflowPeriodFilter, parse_uuid
from messaging.admin.labels import draw_chains, shown_labels
from messaging.admin.operating import actor_of
from messaging.core.envelope import Envelope
from messaging.core.errors import EnvelopeError, NexusError
from messaging.core.ids import message_id_of
from messaging.models import (
    POLLED_STATES,
    DeadLetter,
    Delivery,
    DeliveryState,
    Mailbox,
    Message,
    ProcessedMessage,
    Workflow,
)
from messaging.operators.index_state import IndexState
from messaging.operators.reading import PERMISSION, read_encrypted
from messaging.operators.timeline import states_of
from messaging.operators.verifying import verify_message
from messaging.security.labels.tracing import parse_stored
from messaging.security.signatures import keys

MAX_DELIVERIES = 200
CREATED = display.time_column("created_at", "created")


def parse_or_none(message: Message) -> Envelope | None:
    """The envelope of a message; None where it cannot be read."""
    try:
        return parse_stored(bytes(message.envelope))
    except EnvelopeError:
        return None


class _OfWorkflow(LogAdmin):
    """Rows that belong to a workflow."""

    @admin.display(description="workflow")
    def workflow_link(self, row: Any) -> SafeString:
        """To its workflow, which pruning may have removed."""
        return display.link_to(Workflow, row.workflow_id, row.workflow_id.hex[-8:])


class MessageList(ChangeList):
    """Messages with the state that says most of their deliveries, read for the whole page at once."""

    def get_results(self, request: HttpRequest) -> None:
        """The page's rows, each with its ``state``."""
        super().get_results(request)
        rows: Any = list(self.result_list)
        states = states_of([row.pk for row in rows])
        for row in rows:
            row.state = states.get(row.pk, "")
        self.result_list = rows


@admin.register(Message)
class MessageAdmin(_OfWorkflow):
    """Envelopes, as they were stored and carried."""

    index_group = "Work"
    list_display = ("short", "workflow_link", "sequence", "type", "source", "subject", "coloured_state", CREATED)
    list_filter = (PeriodFilter,)
    id_searches = ("pk", "workflow")
    word_searches = ("type", "source", "subject")
    time_field = "pk"
    search_help_text = "An id of a message or workflow; or the exact type, sender or recipient (past 7 days)."
    fields = (
        "id",
        "workflow_link",
        "sequence",
        "type",
        "source",
        "subject",
        "created_at",
        "correlation_id",
        "deduplication_id",
        "labels",
        "brought_in",
        "deliveries",
        "content",
        "verdict",
        "signature",
    )
    readonly_fields = (*fields, "clear_data")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Who may read encrypted data finds the way to them."""
        envelope = parse_or_none(obj) if obj is not None and request.user.has_perm(PERMISSION) else None
        return (*self.fields, "clear_data") if envelope is not None and envelope.is_encrypted else self.fields

    def get_urls(self) -> list[URLPattern]:
        """The page with a message's data in clear."""
        view = self.admin_site.admin_view(self.clear_view)
        return [path("<uuid:message_id>/clear/", view, name="nexus_message_clear"), *super().get_urls()]

    def clear_view(self, request: HttpRequest, message_id: UUID) -> HttpResponse:
        """Encrypted data in clear: whoever looks is written down."""
        if not (request.user.has_perm(PERMISSION) and self.has_view_permission(request)):
            raise PermissionDenied
        message = Message.objects.filter(pk=message_id).first()
        envelope = None if message is None else parse_or_none(message)
        if message is None or envelope is None:
            raise Http404
        try:
            data = display.pretty_json(read_encrypted(envelope, Message, message.pk, actor=actor_of(request)))
        except NexusError as error:
            data = display.block(str(error))
        context = self.admin_site.each_context(request)
        context |= {"title": "Data in clear", "opts": self.opts, "media": self.media, "message": message, "data": data}
        return TemplateResponse(request, "admin/nexus/clear_data.html", context)

    @admin.display(description="encrypted data")
    def clear_data(self, message: Message) -> SafeString:
        url = reverse("admin:nexus_message_clear", args=[message.pk])
        return format_html('<a href="{}">Read them: that is written down</a>', url)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Lists show no envelope, so they do not load it."""
        return super().get_queryset(request).defer("envelope", "signature")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[MessageList]:
        """A list that knows the states of what it shows."""
        return MessageList

    @admin.display(description="state")
    def coloured_state(self, message: Any) -> SafeString | str:
        return display.state(message.state) if message.state else "-"

    @admin.display(description="id")
    def short(self, message: Message) -> str:
        return f"…{message.pk.hex[-12:-4]}"

    @admin.display(description="envelope")
    def content(self, message: Message) -> SafeString:
        return display.raw_bytes(message.envelope)

    @admin.display(description="labels")
    def labels(self, message: Message) -> str:
        return shown_labels(message)

    @admin.display(description="labels came in by")
    def brought_in(self, message: Message) -> SafeString | str:
        return draw_chains(message)

    @admin.display(description="verdict")
    def verdict(self, message: Message) -> SafeString | str:
        """Whether it is what was stored: its signature, its columns and its deliveries."""
        problems = verify_message(message, keys.verifying())
        return display.block("\n".join(problems)) if problems else "authentic"

    @admin.display(description="deliveries")
    def deliveries(self, message: Message) -> SafeString | str:
        found = Delivery.objects.filter(pk__gt=message.pk, pk__lte=message.last_delivery_id).order_by("pk")
        return display.table(
            ("Agent", "Position", "State", "Attempts", "Last error"),
            (
                (
                    display.link(row, row.agent),
                    row.position,
                    display.state(row.state),
                    row.attempts,
                    display.last_line(row.last_error),
                )
                for row in found[:MAX_DELIVERIES]
            ),
            "none",
        )


class PolledStateFilter(admin.SimpleListFilter):
    """The states of what is not settled: an index covers these, and dead letters have a list of their own."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state.value, state.value) for state in POLLED_STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state=self.value()) if self.value() in DeliveryState.values else queryset


@admin.register(Delivery)
class DeliveryAdmin(_OfWorkflow):
    """Messages on their way to an agent."""

    index_group = "Work"
    index_states = (
        IndexState(
            word="on their way",
            rows=lambda: Delivery.objects.filter(state__in=["pending", "sent", "leased"]),
            query="state=sent",
        ),
        IndexState(
            word="held", rows=lambda: Delivery.objects.filter(state=DeliveryState.HELD.value), query="state=held"
        ),
        IndexState(
            word="quarantined",
            rows=lambda: Delivery.objects.filter(state=DeliveryState.QUARANTINED.value),
            query="state=quarantined",
            wrong=True,
        ),
    )
    list_display = (
        "short",
        "workflow_link",
        "agent",
        "position",
        "coloured_state",
        "attempts",
        display.time_column("available_at", "next look"),
    )
    list_filter = (PolledStateFilter, PeriodFilter)
    id_searches = ("pk", "mailbox__workflow")
    word_searches = ("agent",)
    time_field = "pk"
    search_help_text = "An id of a delivery, message or workflow; or an agent's exact name (past 7 days)."
    fields = (
        "id",
        "message_link",
        "workflow_link",
        "agent",
        "position",
        "queue",
        "coloured_state",
        "attempts",
        "redeliveries",
        "available_at",
        "lease_token",
        "settled_at",
        "error",
        "dead_letters",
    )
    readonly_fields = fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A message's id finds its deliveries, which stand right behind it."""
        identifier = parse_uuid(search_term.strip())
        if identifier is not None and message_id_of(identifier) == identifier:
            last = Message(id=identifier).last_delivery_id
            deliveries = queryset.filter(pk__gt=identifier, pk__lte=last)
            if deliveries.exists():
                return deliveries, False
        return super().get_search_results(request, queryset, search_term)

    @admin.display(description="id")
    def short(self, delivery: Delivery) -> str:
        return f"…{delivery.pk.hex[-12:]}"

    @admin.display(description="state")
    def coloured_state(self, delivery: Delivery) -> SafeString:
        return display.state(delivery.state)

    @admin.display(description="message")
    def message_link(self, delivery: Delivery) -> SafeString:
        return display.link_to(Message, delivery.message_id, str(delivery.message_id))

    @admin.display(description="last error")
    def error(self, delivery: Delivery) -> SafeString | str:
        return display.traceback(delivery.last_error)

    @admin.display(description="dead letters")
    def dead_letters(self, delivery: Delivery) -> SafeString | str:
        found = DeadLetter.objects.filter(delivery=delivery).order_by("-pk")[:MAX_DELIVERIES]
        return display.table(
            ("Dead letter", "Status", "At"),
            ((display.link(row), display.state(row.status), display.moment(row.created_at)) for row in found),
            "none",
        )


@admin.register(Mailbox)
class MailboxAdmin(_OfWorkflow):
    """The counters of each agent in each workflow."""

    index_group = "Work"
    list_display = ("__str__", "workflow_link", "agent", "sent", "processed", "waiting", "labels")
    list_filter = (WorkflowPeriodFilter,)
    id_searches = ("workflow",)
    word_searches = ("agent",)
    time_field = "workflow"
    search_help_text = "A workflow's id; or an agent's exact name (workflows of the past 7 days)."
    fields = ("workflow_link", "agent", "sent", "processed", "waiting", "labels")
    readonly_fields = fields

    @admin.display(description="waiting")
    def waiting(self, mailbox: Mailbox) -> int:
        return mailbox.sent - mailbox.processed


@admin.register(ProcessedMessage)
class ProcessedMessageAdmin(LogAdmin):
    """The rows that make duplicates harmless."""

    internal = True
    list_display = ("message_id", "consumer", "expires_at")
    id_searches = ("message_id",)
    search_help_text = "A message's id."
