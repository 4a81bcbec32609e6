"""Operators' actions: each is permitted, explained, logged, and harmless when it comes twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from messaging.admin.base import LogAdmin
from messaging.core.errors import NexusError
from messaging.models import Entrance
from messaging.operators.acts import Actor, perform

MAX_AT_ONCE = 500
"""Rows that one action takes; more of them take `manage.py nexus_replay` or `nexus_workflows`."""
MAX_EXPLAINED = 10


def actor_of(request: HttpRequest) -> Actor:
    """Who is at the admin."""
    return Actor(request.user.get_username(), Entrance.ADMIN)


class OperatedAdmin(LogAdmin):
    """A read-only page with actions."""

    operate_permission = ""

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may run this page's actions."""
        return request.user.has_perm(self.operate_permission)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Run the chosen action, unless what is selected cannot be the key of a row."""
        try:
            queryset.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME))
        except (ValueError, ValidationError):
            self.message_user(request, "What was selected is no row of this list.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset, *args, **kwargs)

    def operate(
        self,
        request: HttpRequest,
        rows: QuerySet[Any],
        do: Callable[[Any], str],
        done: str,
        *,
        audited_elsewhere: bool = False,
    ) -> HttpResponseRedirect | None:
        """Do something to each row; say what was done and what was not, and write down who did it.

        Args:
            request: of the operator.
            rows: at most ``MAX_AT_ONCE`` of them are taken.
            do: changes one row. Returns why there was nothing to do, or nothing; raises NexusError when it cannot.
            done: what was done, such as ``"paused"``.
            audited_elsewhere: ``do`` writes it down itself.
        """
        chosen = list(rows[: MAX_AT_ONCE + 1])
        count = 0
        problems: list[tuple[int, str]] = []
        for row in chosen[:MAX_AT_ONCE]:
            try:
                nothing = do(row) if audited_elsewhere else self._perform(request, row, do)
            except NexusError as error:
                problems.append((messages.ERROR, f"{row}: {error}"))
                continue
            if nothing:
                problems.append((messages.INFO, f"{row}: {nothing}"))
                continue
            self.log_change(request, row, f"{done.capitalize()}.")
            count += 1
        self._say(request, count, done, problems)
        if len(chosen) > MAX_AT_ONCE:
            self.message_user(
                request, f"Only the first {MAX_AT_ONCE} were taken; repeat for the rest.", messages.WARNING
            )
        if not chosen:
            self.message_user(request, "Nothing that was selected is there any more.", messages.WARNING)
        return self._back(request, chosen)

    def _perform(self, request: HttpRequest, row: Any, do: Callable[[Any], str]) -> str:
        action, reason = request.POST.get("action", ""), request.POST.get("reason", "")
        return perform(actor_of(request), action, self.model, row.pk, lambda: do(row), reason=reason)

    def ask(
        self,
        request: HttpRequest,
        action: str,
        consequence: str,
        head: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        *,
        with_reason: bool = False,
    ) -> HttpResponse:
        """Have an action confirmed that cannot be undone.

        Args:
            request: of the operator.
            action: its name.
            consequence: what it does.
            head: the columns of the table of what is chosen.
            rows: the chosen row and what else to show of it.
            with_reason: whether to ask for a reason.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": f"{action.capitalize()} {self.opts.verbose_name_plural}?",
            "opts": self.opts,
            "media": self.media,
            "action": action,
            "consequence": consequence,
            "head": head,
            "rows": [(row[0].pk, row) for row in rows],
            "noun": self.opts.verbose_name if len(rows) == 1 else self.opts.verbose_name_plural,
            "checkbox": ACTION_CHECKBOX_NAME,
            "from_page": "from_page" in request.POST,
            "with_reason": with_reason,
        }
        return TemplateResponse(request, "admin/nexus/confirm.html", context)

    def _say(self, request: HttpRequest, count: int, done: str, problems: list[tuple[int, str]]) -> None:
        meta = self.model._meta
        if count:
            noun = meta.verbose_name if count == 1 else meta.verbose_name_plural
            self.message_user(request, f"{count} {noun} {done}.", messages.SUCCESS)
        for level, text in problems[:MAX_EXPLAINED]:
            self.message_user(request, text, level)
        if len(problems) > MAX_EXPLAINED:
            self.message_user(request, f"And {len(problems) - MAX_EXPLAINED} more like these.", messages.WARNING)

    def _back(self, request: HttpRequest, chosen: list[Any]) -> HttpResponseRedirect | None:
        """To the page of the row where its button was pressed; otherwise to the list."""
        if "from_page" not in request.POST or len(chosen) != 1:
            return None
        meta = self.model._meta
        return HttpResponseRedirect(reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[chosen[0].pk]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Offer the actions as buttons on the row's own page."""
        buttons = (
            [(name, text) for name, text in self.buttons(object_id)] if self.has_operate_permission(request) else []
        )
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "nexus_buttons": buttons})

    def buttons(self, object_id: str) -> list[tuple[str, str]]:
        """(action, text) of the buttons on a row's page."""
        raise NotImplementedError
