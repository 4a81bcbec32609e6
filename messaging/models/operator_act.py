"""OperatorAct: what a person did, from where, to what, and why. Rows are only ever added."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models


class Entrance(models.TextChoices):
    """By which door a person came."""

    ADMIN = "admin", "admin"
    SHELL = "shell", "command line"
    API = "api", "API"
    LIVE = "live", "live page"


class ActNotChangeable(TypeError):
    """The audit is added to, never changed."""


def _refuse(*_: object, **__: object) -> NoReturn:
    raise ActNotChangeable("Acts of operators are never changed or deleted: record another one.")


class AddedQuerySet(models.QuerySet["OperatorAct"]):
    """Rows that nobody changes by way of the models; on PostgreSQL a trigger refuses it whoever asks."""

    update = _refuse
    delete = _refuse
    bulk_update = _refuse


class OperatorAct(models.Model):
    """One thing that a person did to one object."""

    at = models.DateTimeField()
    who = models.CharField(max_length=150, help_text="The name of the user.")
    entrance = models.CharField(max_length=5, choices=Entrance, help_text="By which door the person came.")
    action = models.CharField(max_length=40, help_text="Such as replay or pause.")
    kind = models.CharField(max_length=40, help_text="What kind of object: the name of its table's page.")
    key = models.CharField(max_length=100, help_text="Its id or name.")
    reason = models.TextField(blank=True, default="")
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)

    objects = AddedQuerySet.as_manager()

    class Meta:
        db_table = "nexus_operator_act"
        verbose_name = "act of an operator"
        verbose_name_plural = "acts of operators"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(entrance__in=Entrance.values), name="nexus_operator_act_entrance"
            ),
        ]
        indexes = [
            models.Index(fields=["kind", "key"], name="nexus_operator_act_object"),
            models.Index(fields=["at"], name="nexus_operator_act_at"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.kind} {self.key} by {self.who}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Add it.

        Raises:
            ActNotChangeable: it is there already.
        """
        if not self._state.adding:
            _refuse()
        super().save(*args, **kwargs)

    delete = _refuse
