"""Finding the agents of an installation."""

from __future__ import annotations

from importlib import import_module

from django.utils.module_loading import autodiscover_modules

from messaging.conf import get_settings


def load_agents() -> None:
    """Import every module that registers agents: ``nexus_agents`` of each installed app, and ``NEXUS["AGENTS"]``."""
    autodiscover_modules("nexus_agents")
    for module in get_settings().agents.split(","):
        if module.strip():
            import_module(module.strip())
