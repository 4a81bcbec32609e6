"""``{% nexus_dashboard %}``: what is wrong, figures and charts, for the admin's index."""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse

from messaging.admin.base import LogAdmin
from messaging.admin.charts import bars, line, seconds
from messaging.observing import dashboard

register = template.Library()

SECURITY = "reason__exact=not_authentic"

PAGES = {
    "dead letters": "deadletter",
    "parked": "workflow",
    "backlog": "delivery",
    "workers": "workerstatus",
    "relay": "relaylease",
}


def _page(model: str, query: str = "") -> str:
    return reverse(f"admin:nexus_{model}_changelist") + (f"?{query}" if query else "")


@register.inclusion_tag("admin/nexus/dashboard.html", takes_context=True)
def nexus_dashboard(context: dict[str, Any]) -> dict[str, Any]:
    """The dashboard, for whoever may see workflows; nothing for others."""
    request: HttpRequest = context["request"]
    if not request.user.has_perm("nexus.view_workflow"):
        return {"permitted": False}
    span = request.GET.get("span", "hour")
    span = span if span in dashboard.SPANS else "hour"
    steps = dashboard.steps(span)
    return {
        "permitted": True,
        "problems": [
            {"problem": problem, "url": _page(PAGES[problem.name]) if problem.name in PAGES else ""}
            for problem in dashboard.problems()
        ],
        "tiles": _tiles(dashboard.current_figures()),
        "span": span,
        "spans": list(dashboard.SPANS),
        "sent": bars(steps, label=f"Deliveries over the past {span}: handled, given up and open"),
        "times": line(steps, label=f"Time from sent to handled, 99 of 100, over the past {span}"),
        "counted": any(step.sent for step in steps),
        "internals": _internals(request),
    }


def _tiles(now: dashboard.CurrentFigures) -> list[dict[str, Any]]:
    def tile(name: str, value: object, url: str, *, bad: int = 0) -> dict[str, Any]:
        return {"name": name, "value": value, "url": url, "bad": bad > 0}

    def number(value: int) -> str:
        return f"{value:,}".replace(",", " ") + ("+" if value >= dashboard.MAX_COUNTED else "")

    rate = "-" if now.messages_a_minute is None else number(now.messages_a_minute)
    return [
        tile("messages a minute", rate, _page("message", "since=hour")),
        tile("sent → handled, median", seconds(now.median_seconds), _page("minutefigures")),
        tile("sent → handled, 99 of 100", seconds(now.slowest_seconds), _page("minutefigures")),
        tile("on their way", number(now.waiting), _page("delivery", "state__exact=sent")),
        tile("oldest unhandled", seconds(now.oldest_seconds), _page("delivery", "state__exact=pending")),
        tile("held", number(now.held), _page("delivery", "state__exact=held")),
        tile(
            "quarantined",
            number(now.quarantined),
            _page("delivery", "state__exact=quarantined"),
            bad=now.quarantined > 0,
        ),
        tile("parked workflows", number(now.parked), _page("workflow", "status__exact=parked"), bad=now.parked),
        tile("paused workflows", number(now.paused), _page("workflow", "status__exact=paused")),
        tile("open dead letters", number(now.dead), _page("deadletter"), bad=now.dead),
        tile(
            "of them: security",
            number(now.security),
            _page("deadletter", SECURITY),
            bad=now.security,
        ),
        tile("workers at work", number(now.workers), _page("workerstatus"), bad=not now.workers),
    ]


def _internals(request: HttpRequest) -> list[dict[str, str]]:
    """Links to the tables that the index does not list."""
    found = []
    for model, page in admin.site._registry.items():
        if isinstance(page, LogAdmin) and page.internal and page.has_view_permission(request):
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
            found.append({"name": str(model._meta.verbose_name_plural), "url": reverse(name)})
    return sorted(found, key=lambda item: item["name"])
