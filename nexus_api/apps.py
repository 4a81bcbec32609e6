"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class NexusApiConfig(AppConfig):
    name = "nexus_api"
    label = "nexus_api"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Nexus API"

    def ready(self) -> None:
        """Have the relay remove what need not be remembered any more."""
        forget = import_module("nexus_api.idempotency").forget_expired
        import_module("messaging.extension").run_periodically("answers kept for repeated requests", 60.0, forget)
