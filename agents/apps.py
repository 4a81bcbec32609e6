"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = "Nexus agents"

    def ready(self) -> None:
        """Keep what handlers store in the database, and have the relay see to chats that wait.

        Models exist only from here on, so nothing is imported before.
        """
        messaging = import_module("messaging.api")
        messaging.install_services(import_module("agents.services").DatabaseServices())
        messaging.run_periodically("deadlines of chats", 0.5, import_module("agents.chat.durable").wake_due_chats)
