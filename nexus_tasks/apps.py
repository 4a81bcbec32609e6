"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class NexusTasksConfig(AppConfig):
    name = "nexus_tasks"
    label = "nexus_tasks"
    verbose_name = "Nexus tasks"

    def ready(self) -> None:
        """Watch for tasks that fail for good. Models exist only from here on, so nothing is imported before."""
        import_module("nexus_tasks.queues").watch_failures()
