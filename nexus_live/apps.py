"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class NexusLiveConfig(AppConfig):
    name = "nexus_live"
    label = "nexus_live"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Nexus live pages"

    def ready(self) -> None:
        """Say who may share; have the relay remove links that hold no longer."""
        messaging = import_module("messaging.extension")
        may = messaging.every_change_of("sharelink", "workflowviewer")
        messaging.add_permissions(messaging.AppPermissions(self.label, operating=may))
        messaging.run_periodically("links to live pages", 3600.0, import_module("nexus_live.sharing").forget_expired)
