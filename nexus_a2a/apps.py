"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class NexusA2AConfig(AppConfig):
    name = "nexus_a2a"
    label = "nexus_a2a"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Nexus A2A"

    def ready(self) -> None:
        """Have the relay forget tasks whose workflows were removed from the log."""
        forget = import_module("nexus_a2a.tasks").forget_removed
        import_module("messaging.extension").run_periodically("A2A tasks of removed workflows", 3_600.0, forget)
