"""The Django app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.core.checks import register
from django.core.exceptions import ImproperlyConfigured

from agents import DISTRIBUTION


class AgentsConfig(AppConfig):
    name = "agents"
    label = "nexus_agents"  # a project may have an app "agents" of its own
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
        """Say who may do what; see to chats, the judge, old tool calls, dead letters and forks; register the checks.

        Models exist only from here on, so nothing is imported before.
        """
        messaging = import_module("messaging.extension")
        may = frozenset({"change_approval", "add_team", "change_team", "delete_team"})
        messaging.add_permissions(messaging.AppPermissions(self.label, operating=may))
        messaging.run_periodically("old tool calls", 60.0, import_module("agents.llm.ledger").prune_calls)
        session = import_module("agents.chat.hosts.session")
        messaging.run_periodically("deadlines of chats", 0.5, session.wake_due_chats)
        messaging.run_periodically("chats whose workflow ended", 60.0, session.close_ended_chats)
        messaging.when_discarded(session.MANAGER, session.end_discarded)
        messaging.refuse_forks_with(session.MANAGER, "it is a chat: fork it with its manager's fork()")
        approval = import_module("agents.chat.hosts.approval")
        messaging.run_periodically("approvals whose workflow ended", 60.0, approval.withdraw_ended)
        messaging.run_periodically("old spending", 3600.0, import_module("agents.judge.budget").prune)
        register(import_module("agents.checks").check_partners, "nexus_tables", deploy=True)
