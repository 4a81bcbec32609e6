"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig

from messaging.conf import get_settings
from messaging.core.errors import ConfigurationError


class MessagingConfig(AppConfig):
    name = "messaging"
    label = "nexus"  # a project may have an app "messaging" of its own
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Nexus"

    def ready(self) -> None:
        """Register the system checks and the agents that this installation has, and watch its connections."""
        import_module("messaging.checks")
        import_module("messaging.log.healing").watch_connections()
        import_module("messaging.log.pooling").set_up_pooled_connections()
        try:
            get_settings()
        except ConfigurationError:
            return  # nexus.E001 says it on one screen; whatever needs the settings fails with the same words
        if not import_module("messaging.checks.packages").agents_are_ours():
            return  # nexus.E019 says so; the modules that register agents could not be imported
        import_module("messaging.directory.discovery").load_agents()
