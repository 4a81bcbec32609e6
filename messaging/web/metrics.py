"""``/metrics``: figures for Prometheus, for whoever shows the token, and for staff."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from messaging.conf import get_settings
from messaging.observing.metrics import exposition


def _may_read(request: HttpRequest) -> bool:
    token = get_settings().metrics_token
    shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if token and constant_time_compare(shown, token):
        return True
    user = getattr(request, "user", None)
    return bool(user is not None and user.is_active and user.is_staff)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format: 404 while NEXUS_METRICS is off, 403 without NEXUS_METRICS_TOKEN."""
    if get_settings().metrics != "on":
        return HttpResponse("Metrics are off: set NEXUS_METRICS=on.\n", status=404, content_type="text/plain")
    if not _may_read(request):
        return HttpResponse(
            "Show NEXUS_METRICS_TOKEN: Authorization: Bearer …\n", status=403, content_type="text/plain; charset=utf-8"
        )
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)
