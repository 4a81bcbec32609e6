"""Dead letters: look at them, put them back, edit them, or give them up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from messaging.admin import display, letter_pages
from messaging.admin.operating import MAX_AT_ONCE, OperatedAdmin, actor_of
from messaging.core.errors import NexusError
from messaging.core.ids import message_id_of
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    DeadReason,
    Delivery,
    Message,
    OperatorAct,
    Workflow,
)
from messaging.operators.dead_letters import DeadLetterFilter, discard_letter, replay_letter
from messaging.operators.editing import may_edit
from messaging.operators.index_state import IndexState
from messaging.operators.labels import approve, endorse

MAX_HISTORY = 50
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


class CauseFilter(admin.SimpleListFilter):
    """Those with the same cause as one of them."""

    title = "cause"
    parameter_name = "like"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        chosen = request.GET.get(self.parameter_name, "")
        return [(chosen, f"as #{chosen}")] if chosen.isdecimal() else []

    def has_output(self) -> bool:
        """Whether it is offered."""
        return True

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        try:
            return queryset.filter(**DeadLetterFilter.like(int(value) if value.isdecimal() else 0).common)
        except NexusError:
            return queryset.none()


@admin.register(DeadLetter)
class DeadLetterAdmin(OperatedAdmin):
    """Messages that nobody handles without an operator's decision."""

    index_group = "Waits for people"
    index_states = (
        IndexState(word="open", rows=lambda: DeadLetter.objects.filter(status=DeadLetterStatus.OPEN), wrong=True),
    )
    operate_permission = "nexus.change_deadletter"
    actions = ("replay", "edit", "discard", "endorse", "approve")
    change_form_template = "admin/nexus/operated_form.html"
    list_display = ("summary", "coloured_status", "agent", "message_type", "cause", "workflow_link", CREATED)
    list_filter = (StatusFilter, "reason", CauseFilter)
    id_searches = ("delivery", "workflow")
    word_searches = ("agent", "message_type", "error")
    search_help_text = "An id of a delivery or workflow; or the exact agent, message type or class of error."
    fieldsets = (
        ("What went wrong", {"fields": ("coloured_status", "reason", "error", "said", "place", "explanation")}),
        ("What it carries", {"fields": ("agent", "message_type", "payload", "workflow_link", "delivery_link")}),
        ("What was tried and done", {"fields": ("attempts", "created", "history", "replacement")}),
        ("As it came", {"fields": ("content", "raw_headers"), "classes": ("collapse",)}),
    )
    readonly_fields = (
        "coloured_status",
        "reason",
        "error",
        "said",
        "place",
        "explanation",
        "agent",
        "message_type",
        "payload",
        "workflow_link",
        "delivery_link",
        "attempts",
        "created",
        "history",
        "replacement",
        "content",
        "raw_headers",
    )

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
        if letter.delivery_id is None:
            return [discard]
        return [("replay", "Replay"), *([("edit", "Edit and replay …")] if may_edit(letter) else []), discard]

    def has_edit_permission(self, request: HttpRequest) -> bool:
        """Whether the user may change what a dead letter's message says."""
        return letter_pages.may_edit_here(request)

    def get_urls(self) -> list[URLPattern]:
        """With the pages of groups, of bulk runs and of editing."""
        view = self.admin_site.admin_view
        return [
            path("groups/", view(self.groups_view), name="nexus_deadletter_groups"),
            path("bulk/", view(self.bulk_view), name="nexus_deadletter_bulk"),
            path("<int:letter_id>/edit/", view(self.edit_view), name="nexus_deadletter_edit"),
            *super().get_urls(),
        ]

    def groups_view(self, request: HttpRequest) -> HttpResponse:
        """Open ones by cause."""
        return letter_pages.groups(self, request)

    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Replay or discard many."""
        return letter_pages.bulk_runs(self, request)

    def edit_view(self, request: HttpRequest, letter_id: int) -> HttpResponse:
        """Replay one with other data."""
        return letter_pages.edit(self, request, letter_id)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With links to the groups and to bulk runs."""
        more = {**(extra_context or {}), "may_operate": self.has_operate_permission(request)}
        return super().changelist_view(request, more)

    @admin.action(description="Edit and replay: send it with other data …", permissions=["edit"])
    def edit(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """To the page where one is edited."""
        chosen = list(queryset.values_list("pk", flat=True)[:2])
        if len(chosen) != 1:
            self.message_user(request, "One dead letter at a time is edited.", messages.ERROR)
            return None
        return HttpResponseRedirect(reverse("admin:nexus_deadletter_edit", args=chosen))

    @admin.action(description="Replay: put the message back", permissions=["operate"])
    def replay(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponseRedirect | None:
        """Put dead letters back, with their attempts at zero."""

        def put_back(letter: DeadLetter) -> str:
            replay_letter(letter.pk, actor=actor_of(request))
            return ""

        return self.operate(request, queryset.order_by("pk"), put_back, "replayed", audited_elsewhere=True)

    @admin.action(description="Discard: go on without the message …", permissions=["operate"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse | None:
        """Give dead letters up, once it is confirmed."""
        reason = request.POST.get("reason", "").replace("\x00", "").strip()
        if "confirmed" not in request.POST or not reason:
            if "confirmed" in request.POST:
                self.message_user(request, "Say why: whoever looks for the message later will ask.", messages.ERROR)
            return self.ask(
                request,
                "discard",
                "A discarded message is never handled; its workflow goes on without it.",
                ("Dead letter", "Message type", "Workflow"),
                [(letter, letter.message_type, letter.workflow or "-") for letter in queryset[:MAX_AT_ONCE]],
                with_reason=True,
            )

        def give_up(letter: DeadLetter) -> str:
            discard_letter(letter.pk, actor=actor_of(request), reason=reason)
            return ""

        return self.operate(request, queryset.order_by("pk"), give_up, "discarded", audited_elsewhere=True)

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

        return self.operate(
            request, queryset.order_by("pk"), lower, f"{action.removesuffix('e')}ed", audited_elsewhere=True
        )

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

    @admin.display(description="message of the error")
    def said(self, letter: DeadLetter) -> SafeString | str:
        found = display.said_by(letter.detail)
        return display.block(found) if found else "-"

    @admin.display(description="data")
    def payload(self, letter: DeadLetter) -> SafeString:
        return display.data_of(letter.body)

    @admin.display(description="attempts")
    def attempts(self, letter: DeadLetter) -> str:
        return "-" if letter.delivery is None else str(letter.delivery.attempts)

    @admin.display(description="came")
    def created(self, letter: DeadLetter) -> str:
        again = f", {letter.copies} times" if letter.copies > 1 else ""
        return f"{display.moment(letter.created_at)}{again}"

    @admin.display(description="replaced by")
    def replacement(self, letter: DeadLetter) -> SafeString | str:
        if letter.replaced_by is None:
            return "-"
        return display.link_to(Message, letter.replaced_by, str(letter.replaced_by))

    @admin.display(description="history")
    def history(self, letter: DeadLetter) -> SafeString | str:
        """Its delivery's earlier deaths, and what people did."""
        same = (
            DeadLetter.objects.filter(delivery=letter.delivery_id) if letter.delivery_id else DeadLetter.objects.none()
        )
        rows = [
            (one.created_at, display.link_to(DeadLetter, one.pk, f"#{one.pk} died"), display.last_line(one.detail), "")
            for one in same.defer("body", "headers").order_by("pk")[:MAX_HISTORY]
        ]
        keys = [str(letter.pk), *(str(key) for key in same.values_list("pk", flat=True)[:MAX_HISTORY])]
        acts = OperatorAct.objects.filter(kind="deadletter", key__in=keys).order_by("pk")
        rows += [
            (act.at, display.link_to(OperatorAct, act.pk, act.action), act.reason, f"{act.who} ({act.entrance})")
            for act in acts[:MAX_HISTORY]
        ]
        rows.sort(key=lambda row: row[0])
        table = [(display.moment(at), *rest) for at, *rest in rows]
        return display.table(("Time", "What", "Why", "Who"), table, "nothing since it came")

    @admin.display(description="traceback")
    def explanation(self, letter: DeadLetter) -> SafeString | str:
        return display.traceback(letter.detail)

    @admin.display(description="body")
    def content(self, letter: DeadLetter) -> SafeString:
        return display.raw_bytes(letter.body)

    @admin.display(description="headers")
    def raw_headers(self, letter: DeadLetter) -> SafeString | str:
        return display.pretty_json(letter.headers) if letter.headers else "-"
