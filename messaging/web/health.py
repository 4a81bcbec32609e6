"""``/health/``: whether this installation works, for load balancers, monitors and people."""

from __future__ import annotations

from django.db import Error as DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from messaging.observing.health import DATABASE, HealthReport
from messaging.observing.system import readiness, system


def _may_see_details(request: HttpRequest, report: HealthReport) -> bool:
    """Staff may. Without a database nobody can be recognised, and asking it again would only take time."""
    if not report.findings[DATABASE.name].ok:
        return False
    try:
        return bool(request.user.is_active and request.user.is_staff)
    except DatabaseError:
        return False


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """The health report: 200 when everything works, otherwise 503. Only staff sees more than the status."""
    report = system.report()
    body = report.as_dict() if _may_see_details(request, report) else {"status": report.status}
    return JsonResponse(body, status=200 if report.ok else 503)


@never_cache
@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """200 while this process answers at all. It asks nothing: restarting it would not mend a database."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 when this process can take requests, otherwise 503."""
    report = readiness.report()
    return JsonResponse({"status": report.status}, status=200 if report.ok else 503)
