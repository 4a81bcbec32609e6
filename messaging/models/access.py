"""Access control: roles, teams, grants, the policy's epoch, and the audit of its changes.

Rows of the policy are saved and deleted only inside ``messaging.security.access.store.change``, which counts the epoch
and writes the audit; elsewhere ``save`` and ``delete`` refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import uuid4

from django.db import models

from messaging.core.errors import AccessPolicyError

_open: ContextVar[bool] = ContextVar("nexus_access_change_open", default=False)


def changes_allowed() -> bool:
    """Whether a change is open in this thread."""
    return _open.get()


@contextmanager
def allow_changes() -> Iterator[None]:
    """Let rows of the policy be changed within. Only for ``store.change``."""
    token = _open.set(True)
    try:
        yield
    finally:
        _open.reset(token)


class PolicyRow(models.Model):
    """A row that belongs to the policy."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_outside_a_change()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self._refuse_outside_a_change()
        return super().delete(*args, **kwargs)

    def _refuse_outside_a_change(self) -> None:
        if not changes_allowed():
            raise AccessPolicyError(
                f"{self._meta.verbose_name} {self}: changed without an audit; do it inside "
                "messaging.security.access.store.change(who)"
            )


class AccessEffect(models.TextChoices):
    ALLOW = "allow"
    DENY = "deny"


class AccessRole(PolicyRow):
    """Agents that share grants."""

    name = models.CharField(max_length=100, primary_key=True)
    inherits = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        related_name="inherited_by",
        db_table="nexus_access_role_inherits",
        help_text="Members of this role have the grants of these roles too.",
    )
    note = models.TextField(blank=True, default="")

    class Meta:
        db_table = "nexus_access_role"

    def __str__(self) -> str:
        return self.name


class AccessRoleMember(PolicyRow):
    role = models.ForeignKey(AccessRole, on_delete=models.CASCADE, related_name="members", db_index=False)
    agent = models.CharField(max_length=100, help_text="An agent's name, or a pattern such as desk-*.")

    class Meta:
        db_table = "nexus_access_role_member"
        constraints = [models.UniqueConstraint(fields=["role", "agent"], name="nexus_access_role_member_unique")]

    def __str__(self) -> str:
        return f"{self.agent} in {self.role_id}"


class AccessTeam(PolicyRow):
    """Agents that may write to each other unless a grant says otherwise."""

    name = models.CharField(max_length=100, primary_key=True)

    class Meta:
        db_table = "nexus_access_team"

    def __str__(self) -> str:
        return self.name


class AccessTeamMember(PolicyRow):
    team = models.ForeignKey(AccessTeam, on_delete=models.CASCADE, related_name="members", db_index=False)
    agent = models.CharField(max_length=100, help_text="An agent's name, or a pattern such as desk-*.")

    class Meta:
        db_table = "nexus_access_team_member"
        constraints = [models.UniqueConstraint(fields=["team", "agent"], name="nexus_access_team_member_unique")]

    def __str__(self) -> str:
        return f"{self.agent} in {self.team_id}"


class AccessGrant(PolicyRow):
    """Lets messages through, or refuses them; one deny outweighs every allow."""

    name = models.CharField(max_length=100, unique=True)
    effect = models.CharField(max_length=5, choices=AccessEffect, default=AccessEffect.ALLOW)
    sender = models.CharField(max_length=110, default="*", help_text="An agent, a pattern or role:NAME.")
    recipient = models.CharField(max_length=110, default="*", help_text="An agent, a pattern, role:NAME or group:NAME.")
    type = models.CharField(max_length=200, default="*", help_text="A message type or a pattern such as order.*.")
    team = models.ForeignKey(
        AccessTeam,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="grants",
        help_text="Both agents must be in it.",
    )
    workflow = models.UUIDField(null=True, blank=True, help_text="Only in this workflow.")
    starts = models.DateTimeField(null=True, blank=True)
    ends = models.DateTimeField(null=True, blank=True)
    uses = models.IntegerField(null=True, blank=True, help_text="How many more messages; empty for any number.")
    note = models.TextField(blank=True, default="")

    class Meta:
        db_table = "nexus_access_grant"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(effect__in=AccessEffect.values), name="nexus_access_grant_effect"
            ),
            models.CheckConstraint(
                condition=models.Q(uses__isnull=True) | models.Q(uses__gte=0, effect=AccessEffect.ALLOW),
                name="nexus_access_grant_uses",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AccessEpoch(PolicyRow):
    """One row, ``id=1``: the number of the policy that holds, and its defaults. Every change raises the number."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    number = models.BigIntegerField(default=0, editable=False)
    token = models.UUIDField(default=uuid4, editable=False, help_text="New with every change.")
    inside_team = models.CharField(max_length=5, choices=AccessEffect, default=AccessEffect.ALLOW)
    across_teams = models.CharField(max_length=5, choices=AccessEffect, default=AccessEffect.DENY)
    without_team = models.CharField(max_length=5, choices=AccessEffect, default=AccessEffect.ALLOW)

    class Meta:
        db_table = "nexus_access_epoch"
        verbose_name = "access defaults"
        verbose_name_plural = "access defaults"
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="nexus_access_epoch_single"),
            models.CheckConstraint(
                condition=models.Q(
                    inside_team__in=AccessEffect.values,
                    across_teams__in=AccessEffect.values,
                    without_team__in=AccessEffect.values,
                ),
                name="nexus_access_epoch_defaults",
            ),
        ]

    def __str__(self) -> str:
        return f"epoch {self.number}"


class AccessChange(models.Model):
    """What one change did to one role, team or grant, or to the defaults."""

    epoch = models.BigIntegerField(help_text="The policy's number since this change.")
    at = models.DateTimeField()
    who = models.CharField(max_length=200)
    kind = models.CharField(max_length=8)
    name = models.CharField(max_length=100)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)

    class Meta:
        db_table = "nexus_access_change"
        verbose_name = "access change"
        indexes = [models.Index(fields=["kind", "name"], name="nexus_access_change_subject")]

    def __str__(self) -> str:
        what = "added" if self.before is None else "removed" if self.after is None else "changed"
        return f"#{self.epoch} {self.kind} {self.name}: {what} by {self.who}"
