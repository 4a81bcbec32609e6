"""GivenPermission: what the groups of people were given once, so that what somebody takes back stays taken back."""

from __future__ import annotations

from django.db import models


class GivenPermission(models.Model):
    """One permission that one group was given, by their names."""

    group = models.CharField(max_length=150)
    permission = models.CharField(max_length=200, help_text="App label, point, code name.")

    class Meta:
        db_table = "nexus_given_permission"
        constraints = [
            models.UniqueConstraint(fields=["group", "permission"], name="nexus_given_permission_once"),
        ]

    def __str__(self) -> str:
        return f"{self.group}: {self.permission}"
