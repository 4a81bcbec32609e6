"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class MessagingConfig(AppConfig):
    name = "messaging"
    verbose_name = "Nexus"

    def ready(self) -> None:
        """Register the system checks, and the agents that this installation has."""
        import_module("messaging.checks")
        import_module("messaging.sending.discovery").load_agents()
