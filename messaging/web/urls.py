"""URLs of the messaging app."""

from __future__ import annotations

from django.urls import URLPattern, path

from messaging.web.health import health, live, ready
from messaging.web.jwks import keys
from messaging.web.metrics import metrics
from messaging.web.start_page import start_page

urlpatterns: list[URLPattern] = [
    path("health/", health, name="nexus-health"),
    path("health/live", live, name="nexus-live"),
    path("health/ready", ready, name="nexus-ready"),
    path("keys/", keys, name="nexus-keys"),
    path("metrics", metrics, name="nexus-metrics"),
    path("start/", start_page, name="nexus-start"),
]
