"""Schemas of message types: what this installation has, from wherever it comes."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from messaging.admin import display
from messaging.admin.base import LogAdmin
from messaging.core.errors import SchemaError
from messaging.core.registry import registry as agents
from messaging.models import MessageSchema
from messaging.security.schemas.loading import load_all_possible
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.sources import Found
from messaging.security.schemas.traffic import deprecated_senders
from messaging.security.schemas.uri import SchemaKey, parse_name

WATCHED = timedelta(days=7)
"""How far back the page looks for those who send by a deprecated schema."""
MAX_SENDERS = 10


@admin.register(MessageSchema)
class MessageSchemaAdmin(LogAdmin):
    """Every version of every type, from files, classes and the database. Nobody changes a version."""

    index_group = "Rules and access"
    fields = readonly_fields = (
        "type",
        "version",
        "deprecated",
        "compatibility",
        "override_reason",
        "registered_at",
        "registered_by",
        "written",
    )

    @admin.display(description="schema")
    def written(self, row: MessageSchema) -> Any:
        return display.pretty_json(row.document)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """All schemas, or the one that ``?schema=order.placed:1`` names."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        schemas, errors = load_all_possible()
        for error in errors:
            self.message_user(request, str(error), messages.ERROR)
        name = request.GET.get("schema", "")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.model._meta,
            "title": name or "Message schemas",
            "rows": _rows(schemas),
            "chosen": _document(schemas, name),
            "days": WATCHED.days,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/nexus/schemas.html", context)


def _rows(schemas: SchemaRegistry) -> list[dict[str, Any]]:
    senders = deprecated_senders(schemas, timezone.now() - WATCHED)
    takers = list(agents)
    return [
        {
            "type": found.key.type,
            "version": found.key.version,
            "newest": found.key.version == schemas.versions(found.key.type)[-1],
            "title": document.get("title", ""),
            "deprecated": document.get("deprecated") is True,
            "senders": [
                f"{name} ({number})" for name, number in senders.get(found.key, Counter()).most_common(MAX_SENDERS)
            ],
            "accepted_by": sorted(spec.name for spec in takers if spec.accepts and spec.takes(found.key.type)),
            "origin": found.origin,
        }
        for found, document in ((found, _as_object(found)) for found in schemas)
    ]


def _as_object(found: Found) -> dict[str, Any]:
    return found.document if isinstance(found.document, dict) else {}


def _document(schemas: SchemaRegistry, name: str) -> Any:
    """The schema of that name as text for the page; None where there is none."""
    try:
        key: SchemaKey | None = parse_name(name) if name else None
    except SchemaError:
        return None
    if key is None or not schemas.knows(key):
        return None
    return display.pretty_json(schemas.documents(key.type)[key.version])
