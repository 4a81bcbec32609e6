"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.core.checks import register
from django.core.exceptions import ImproperlyConfigured

from agents import DISTRIBUTION


class AgentsConfig(AppConfig):
    name = "agents"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Nexus agents"

    def import_models(self) -> None:
        """Import the models, which need the package ``messaging`` of Nexus.

        Raises:
            ImproperlyConfigured: it is another one. No system check can say so: none would be reached.
        """
        found = import_module("messaging")
        if getattr(found, "DISTRIBUTION", "") != DISTRIBUTION:
            raise ImproperlyConfigured(
                f"nexus.E019: another package called 'messaging' comes before that of Nexus: {found.__file__}. "
                "Rename it, or move it into another package."
            )
        super().import_models()

    def ready(self) -> None:
        """Keep what handlers store in the database, and have the relay see to chats that wait.

        Models exist only from here on, so nothing is imported before.
        """
        messaging = import_module("messaging.api")
        services = import_module("agents.services")
        messaging.install_services(services.DatabaseServices())
        messaging.run_periodically("old results of handlers", 60.0, services.prune_records)
        messaging.run_periodically("deadlines of chats", 0.5, import_module("agents.chat.session").wake_due_chats)
        register(import_module("agents.checks").check_partners, "nexus_tables", deploy=True)
