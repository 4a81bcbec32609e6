"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = "Nexus agents"

    def ready(self) -> None:
        """Keep what handlers store in the database. Models exist only from here on, so nothing is imported before."""
        import_module("messaging.api").install_services(import_module("agents.services").DatabaseServices())
