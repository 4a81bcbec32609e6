"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class MessagingConfig(AppConfig):
    name = "messaging"
    verbose_name = "Nexus"

    def ready(self) -> None:
        import_module("messaging.checks")


def load_agents() -> None:
    """Import every module that registers agents: ``nexus_agents`` of each installed app, and ``NEXUS["AGENTS"]``."""
    from messaging.conf import get_settings

    autodiscover_modules("nexus_agents")
    for module in get_settings().agents.split(","):
        if module.strip():
            import_module(module.strip())
