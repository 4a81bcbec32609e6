"""Chats and their transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from agents.admin.transcripts import places_of, transcript_of
from agents.chat.hosts.host import standing
from agents.chat.hosts.workflows import PARKED, STOPPED, of_workflow
from agents.models import Approval, ApprovalStatus, ChatSession
from messaging.extension import BoundedPaginator, time_column, time_field

LOOKED_AT = 1_000
"""Chats whose teams the filter offers."""
MAX_TEAMS = 50

if TYPE_CHECKING:
    SessionAdminBase = admin.ModelAdmin[ChatSession]
else:
    SessionAdminBase = admin.ModelAdmin


class TeamFilter(admin.SimpleListFilter):
    """The teams of the newest chats: asking all of them would read the whole table for each list."""

    title = "team"
    parameter_name = "team"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = ChatSession.objects.order_by("-pk").values_list("team", flat=True)[:LOOKED_AT]
        found = {*newest, request.GET.get(self.parameter_name, "")} - {""}
        return [(team, team) for team in sorted(found)[:MAX_TEAMS]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(team=self.value()) if self.value() else queryset


@admin.register(ChatSession)
class ChatSessionAdmin(SessionAdminBase):
    """Chats and their transcripts, to read."""

    list_display = (
        "__str__",
        "standing",
        "messages",
        "reason",
        time_column("created_at", "Started at"),
        time_column("ended_at", "Ended at"),
    )
    index_group = "Work"
    paginator = BoundedPaginator
    list_per_page = 50
    list_filter = ("status", TeamFilter)
    search_fields = ("team",)
    show_full_result_count = False
    fields: ClassVar[Any] = (
        "workflow_id",
        "places",
        "team",
        "standing",
        "reason",
        "messages",
        time_field("wake_at", "Next deadline"),
        "forked_from",
        time_field("created_at", "Started at"),
        time_field("ended_at", "Ended at"),
        "transcript",
    )
    readonly_fields: ClassVar[Any] = fields

    class Media:
        css = {"all": ["nexus/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ChatSession | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ChatSession | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChatSession]:
        """With what tells why a chat does not go on, in the same query."""
        asked = Approval.objects.filter(workflow=OuterRef("pk"), status=ApprovalStatus.WAITING)
        rows = super().get_queryset(request).defer("definition", "state")  # both may be long, and no page shows them
        return rows.annotate(asks=Exists(asked), workflow_status=of_workflow(ChatSession, "status"))

    @admin.display(description="Status", ordering="status")
    def standing(self, obj: ChatSession) -> str:
        """Whether it goes on, and for what it waits."""
        stopped = getattr(obj, "workflow_status", "")
        asks = getattr(obj, "asks", False)
        return standing(obj.status, parked=stopped == PARKED, paused=stopped in STOPPED, asks=asks).capitalize()

    @admin.display(description="Transcript")
    def transcript(self, obj: ChatSession) -> SafeString | str:
        """What was said."""
        return transcript_of(obj.pk)

    @admin.display(description="Pages")
    def places(self, obj: ChatSession) -> SafeString:
        """Where to look further."""
        return places_of(obj.pk, chat=False)
