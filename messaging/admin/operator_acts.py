"""The audit: what people did, in one list; nobody changes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.base import LogAdmin
from messaging.core.describing import visible
from messaging.models import OperatorAct
from messaging.operators.audit import audit

A_PAGE = 100


@admin.register(OperatorAct)
class OperatorActAdmin(LogAdmin):
    """The list has the changes of keys, rules, access and labels too, which have tables of their own."""

    fields = ("at", "who", "entrance", "action", "kind", "key", "reason", "was", "became")
    readonly_fields = fields

    @admin.display(description="before")
    def was(self, act: OperatorAct) -> SafeString:
        return display.pretty_json(act.before)

    @admin.display(description="after")
    def became(self, act: OperatorAct) -> SafeString:
        return display.pretty_json(act.after)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """A page of the audit, the newest first; the next one begins before its last line."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        who, kind = (request.GET.get(name, "").replace("\x00", "").strip()[:200] for name in ("who", "kind"))
        lines = audit(before=_moment(request.GET.get("before", "")), who=who, kind=kind, limit=A_PAGE)
        older = {"who": who, "kind": kind, "before": lines[-1].at.isoformat()} if len(lines) >= A_PAGE else None
        context = {
            **self.admin_site.each_context(request),
            "title": "What people did",
            "opts": self.opts,
            "media": self.media,
            "who": who,
            "kind": kind,
            "rows": [
                {
                    "time": display.link_to(line.model, line.pk, display.moment(line.at)),
                    "line": line,
                    "change": _change(line.before, line.after),
                }
                for line in lines
            ],
            "older": urlencode(older) if older else "",
        }
        return TemplateResponse(request, "admin/nexus/audit.html", context)


def _moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text[:40])
    except ValueError:
        return None
    if found is None:
        return None
    return timezone.make_aware(found) if timezone.is_naive(found) else found


def _change(before: Any, after: Any) -> list[tuple[str, str, str]]:
    """(name, before, after) of what differs, where both are known as objects."""
    old, new = before if isinstance(before, dict) else {}, after if isinstance(after, dict) else {}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [(name, _short(old.get(name)), _short(new.get(name))) for name in names[:6]]


def _short(value: Any) -> str:
    return "-" if value is None or value == "" else visible(str(value))[:80]
