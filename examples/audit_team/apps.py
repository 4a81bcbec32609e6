"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class AuditTeamConfig(AppConfig):
    name = "examples.audit_team"
    label = "audit_team"
    verbose_name = "Audit team"
