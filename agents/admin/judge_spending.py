"""What judging messages by a model cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import HttpRequest

from agents.models import JudgeSpending
from messaging.extension import BoundedPaginator

if TYPE_CHECKING:
    SpendingAdminBase = admin.ModelAdmin[JudgeSpending]
else:
    SpendingAdminBase = admin.ModelAdmin


@admin.register(JudgeSpending)
class JudgeSpendingAdmin(SpendingAdminBase):
    """What judging messages by a model cost, to read."""

    list_display = ("day", "team", "rule", "calls", "tokens")
    list_filter = ("rule",)
    search_fields = ("team",)
    ordering = ("-day", "team")
    show_full_result_count = False
    paginator = BoundedPaginator
    list_per_page = 50

    class Media:
        css = {"all": ["nexus/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: JudgeSpending | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: JudgeSpending | None = None) -> bool:
        return False
