"""``{% nexus_tables %}``: our tables in groups, with what is in them, for the admin's index."""

from __future__ import annotations

from typing import Any

from django import template

from messaging.admin.index import is_ours, lines_of

register = template.Library()


@register.inclusion_tag("admin/nexus/tables.html", takes_context=True)
def nexus_tables(context: dict[str, Any]) -> dict[str, Any]:
    """Our tables, then the other apps as the admin lists them."""
    apps = context.get("app_list", [])
    return {
        "groups": lines_of(context["request"], apps),
        "app_list": [app for app in apps if not is_ours(app)],
        "request": context["request"],
        "any": bool(apps),
    }
