"""``{% nexus_dashboard %}``: what is wrong, figures and charts, for the admin's index."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import HttpRequest
from django.urls import reverse

from messaging.admin.charts import bars, line, seconds
from messaging.admin.index import tell_number
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
    }


def _tiles(now: dashboard.CurrentFigures) -> list[dict[str, Any]]:
    def tile(name: str, value: object, url: str, *, bad: int = 0) -> dict[str, Any]:
        return {"name": name, "value": value, "url": url, "bad": bad > 0}

    def number(value: int) -> str:
        return tell_number(value, dashboard.MAX_COUNTED)

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
