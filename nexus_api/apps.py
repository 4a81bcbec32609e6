"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings


class NexusApiConfig(AppConfig):
    name = "nexus_api"
    label = "nexus_api"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Nexus API"

    def ready(self) -> None:
        """Have the relay remove what need not be remembered any more, and Redis tell of messages where there is one."""
        forget = import_module("nexus_api.idempotency").forget_expired
        messaging = import_module("messaging.extension")
        messaging.run_periodically("answers kept for repeated requests", 60.0, forget)
        if getattr(settings, "REDIS_URL", ""):
            messaging.when_stored(import_module("nexus_api.fanout").announce)
