"""The Django app."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.db import DEFAULT_DB_ALIAS
from django.db.models.signals import post_migrate

from messaging.conf import get_settings
from messaging.core.errors import ConfigurationError

logger = logging.getLogger("nexus.tracing")


def _create_groups(using: str, apps: Any = installed, **_: Any) -> None:
    """After a migration: the groups of people who look at, operate and protect the installation."""
    try:
        apps.get_model("auth", "Group")
    except LookupError:
        return  # the project has no such app, or its tables come later
    if using == DEFAULT_DB_ALIAS:
        import_module("messaging.security.access.permissions").create_groups()


def _trace() -> None:
    """Trace, if it is asked for. Where the packages are missing nothing else stops working."""
    if get_settings().tracing != "on":
        return
    try:
        opentelemetry = import_module("messaging.observing.opentelemetry")
    except ImportError as error:
        distribution = import_module("messaging.checks.packages").DISTRIBUTION
        logger.error("Nothing is traced: %s. Install the extra: pip install %s[otel]", error, distribution)
    else:
        opentelemetry.install(get_settings().trace_sampling)


def _protect_audit(using: str, **_: Any) -> None:
    """After a migration: PostgreSQL refuses to change what people did."""
    if using == DEFAULT_DB_ALIAS:
        import_module("messaging.operators.acts").protect_acts(using)


def _set_thresholds(using: str, **_: Any) -> None:
    """After a migration: what PostgreSQL is told about our tables and Django has no words for."""
    if using == DEFAULT_DB_ALIAS:
        import_module("messaging.log.vacuuming").set_thresholds()


class MessagingConfig(AppConfig):
    name = "messaging"
    label = "nexus"  # a project may have an app "messaging" of its own
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "Nexus"

    def ready(self) -> None:
        """Register the system checks and the agents that this installation has, and watch its connections."""
        post_migrate.connect(_create_groups, sender=self)
        post_migrate.connect(_protect_audit, sender=self)
        post_migrate.connect(_set_thresholds, sender=self)
        import_module("messaging.checks")
        import_module("messaging.log.healing").watch_connections()
        import_module("messaging.log.pooling").set_up_pooled_connections()
        minutes = import_module("messaging.observing.minutes")
        import_module("messaging.recovery.periodic").run_periodically("figures", minutes.EVERY, minutes.record)
        metrics = import_module("messaging.observing.metrics")
        import_module("messaging.recovery.periodic").run_periodically("tallies", metrics.FOLD_EVERY, metrics.fold)
        questions = import_module("messaging.recovery.questions")
        import_module("messaging.recovery.periodic").run_periodically("questions", 0.25, questions.send_questions)
        import_module("messaging.recovery.periodic").run_periodically("unanswered", 1.0, questions.close_overdue)
        try:
            get_settings()
        except ConfigurationError:
            return  # nexus.E001 says it on one screen; whatever needs the settings fails with the same words
        _trace()
        if not import_module("messaging.checks.packages").agents_are_ours():
            return  # nexus.E019 says so; the modules that register agents could not be imported
        import_module("messaging.directory.discovery").load_agents()
