"""Dead letters: look at them, put them back, or give them up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.operating import MAX_AT_ONCE, OperatedAdmin
from messaging.core.ids import message_id_of
from messaging.models import DeadLetter, DeadLetterStatus, DeadReason, Delivery, Workflow
from messaging.operators.labels import approve, endorse
from messaging.recovery import replay as replaying

CREATED = display.time_column("created_at", "created")


class StatusFilter(admin.SimpleListFilter):
    """Open ones unless asked otherwise: those wait for somebody."""

    title = "status"
    parameter_name = "status"
    everything = "all"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(status.value, status.label) for status in DeadLetterStatus]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        for value, label in (*self.lookup_choices, (self.everything, "All")):
            yield {
                "selected": value == (self.value() or DeadLetterStatus.OPEN.value),
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": label,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == self.everything:
            return queryset
        return queryset.filter(status=self.value() or DeadLetterStatus.OPEN)


@admin.register(DeadLetter)
class DeadLetterAdmin(OperatedAdmin):
    """Messages that nobody handles without an operator's decision."""

    operate_permission = "nexus.change_deadletter"
    actions = ("replay", "discard", "endorse", "approve")
    change_form_template = "admin/nexus/operated_form.html"
    list_display = ("summary", "coloured_status", "agent", "message_type", "cause", "workflow_link", CREATED)
    list_filter = (StatusFilter, "reason")
    id_searches = ("delivery", "workflow")
    word_searches = ("agent", "message_type", "error")
    search_help_text = "An id of a delivery or workflow; or the exact agent, message type or class of error."
    fields = (
        "coloured_status",
        "reason",
        "agent",
        "message_type",
        "workflow_link",
        "delivery_link",
        "error",
        "explanation",
        "content",
        "raw_headers",
        "created_at",
        "resolved_at",
        "resolved_by",
    )
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        """Lists show no bodies, so they do not load them."""
        return super().get_queryset(request).select_related("workflow").defer("body", "headers")

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """Only for one that is open."""
        if not object_id.isdecimal():
            return []
        letter = DeadLetter.objects.filter(pk=object_id, status=DeadLetterStatus.OPEN).defer("body").first()
        if letter is None:
            return []
        discard = ("discard", "Discard …")
        if letter.reason == DeadReason.LABELS:
            return [("endorse", "Endorse …"), ("approve", "Approve …"), discard]
        return [discard] if letter.delivery_id is None else [("replay", "Replay"), discard]

    @admin.action(description="Replay: put the message back", permissions=["operate"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponseRedirect | None:
        """Put dead letters back, with their attempts at zero."""

        def put_back(letter: DeadLetter) -> str:
            replaying.replay(letter.pk, user=request.user.get_username())
            return ""

        return self.operate(request, queryset.order_by("pk"), put_back, "replayed")

    @admin.action(description="Discard: go on without the message …", permissions=["operate"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Give dead letters up, once it is confirmed."""
        if "confirmed" not in request.POST:
            return self.ask(
                request,
                "discard",
                "A discarded message is never handled; its workflow goes on without it.",
                ("Dead letter", "Message type", "Workflow"),
                [(letter, letter.message_type, letter.workflow or "-") for letter in queryset[:MAX_AT_ONCE]],
            )

        def give_up(letter: DeadLetter) -> str:
            replaying.discard(letter.pk, user=request.user.get_username())
            return ""

        return self.operate(request, queryset.order_by("pk"), give_up, "discarded")

    @admin.action(description="Endorse: let the message count as trusted …", permissions=["operate"])
    def endorse(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Lower the integrity label of what stopped because of it, for a reason."""
        return self._lower(request, queryset, "endorse", "Endorsed messages count as trusted, and are handled.")

    @admin.action(description="Approve: let the message be handled as it is …", permissions=["operate"])
    def approve(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Let an agent that does all three handle what it stopped at, for a reason."""
        return self._lower(request, queryset, "approve", "Approved messages are handled with their labels.")

    def _lower(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter], action: str, consequence: str
    ) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            head = ("Dead letter", "Message type", "Why it stopped")
            rows = [(letter, letter.message_type, letter.detail) for letter in queryset[:MAX_AT_ONCE]]
            return self.ask(request, action, consequence, head, rows, with_reason=True)
        who, reason = request.user.get_username(), request.POST.get("reason", "")

        def lower(letter: DeadLetter) -> str:
            if letter.reason != DeadReason.LABELS or letter.delivery_id is None:
                return "it did not stop because of labels"
            if letter.status != DeadLetterStatus.OPEN:
                return f"it is {letter.status} already"
            decide = endorse if action == "endorse" else approve
            decide(message_id_of(letter.delivery_id), reason, who=who)
            return ""

        return self.operate(request, queryset.order_by("pk"), lower, f"{action.removesuffix('e')}ed")

    @admin.display(description="dead letter")
    def summary(self, letter: DeadLetter) -> str:
        return f"#{letter.pk} {letter.get_reason_display()}"

    @admin.display(description="status")
    def coloured_status(self, letter: DeadLetter) -> SafeString:
        return display.state(letter.status)

    @admin.display(description="workflow")
    def workflow_link(self, letter: DeadLetter) -> SafeString | str:
        if letter.workflow_id is None:
            return "-"
        return display.link_to(Workflow, letter.workflow_id, str(letter.workflow or letter.workflow_id))

    @admin.display(description="delivery")
    def delivery_link(self, letter: DeadLetter) -> SafeString | str:
        if letter.delivery_id is None:
            return "-"
        return display.link_to(Delivery, letter.delivery_id, str(letter.delivery_id))

    @admin.display(description="error")
    def cause(self, letter: DeadLetter) -> str:
        return display.last_line(letter.detail) or letter.error or "-"

    @admin.display(description="explanation")
    def explanation(self, letter: DeadLetter) -> SafeString | str:
        return display.traceback(letter.detail)

    @admin.display(description="body")
    def content(self, letter: DeadLetter) -> SafeString:
        return display.raw_bytes(letter.body)

    @admin.display(description="headers")
    def raw_headers(self, letter: DeadLetter) -> SafeString | str:
        return display.pretty_json(letter.headers) if letter.headers else "-"
