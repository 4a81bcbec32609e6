"""ApiToken: what a program shows instead of logging in."""

from __future__ import annotations

from uuid import uuid4

from django.conf import settings
from django.db import models


class Visibility(models.TextChoices):
    ALL = "all", "all workflows"
    TEAM = "team", "the chats of its team, and workflows that it started"
    OWN = "own", "workflows that it started"


class ApiToken(models.Model):
    """Only the secret's digest is stored. A token may do what its scopes *and* its owner's permissions allow."""

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True, help_text="What uses it.")
    digest = models.CharField(max_length=64, unique=True, editable=False, help_text="SHA-256 of the secret.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    scopes = models.JSONField(default=list)
    senders = models.JSONField(default=list, blank=True, help_text="Agents that it may speak as; the first by default.")
    visibility = models.CharField(max_length=4, choices=Visibility, default=Visibility.OWN)
    team = models.CharField(max_length=200, blank=True, default="", help_text="With the visibility team.")
    rate = models.PositiveIntegerField(null=True, blank=True, help_text="Requests a minute; empty: by the settings.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True, help_text="To the minute.")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "nexus_api_token"
        verbose_name = "API token"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(visibility__in=Visibility.values), name="nexus_api_token_visibility"
            ),
            models.CheckConstraint(condition=~models.Q(visibility="team", team=""), name="nexus_api_token_team"),
        ]

    def __str__(self) -> str:
        return self.name
