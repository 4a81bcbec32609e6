"""A row in every table that the admin shows, with one text wherever a row can hold text."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils import timezone

OURS = ("nexus", "nexus_agents")
RECENTLY = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=3)
"""Of all rows: a minute that is over, so that a page looks the same at every second."""


def shown_models() -> list[type[models.Model]]:
    """The models of this project that have pages in the admin."""
    return [model for model in admin.site._registry if model._meta.app_label in OURS]


def fill_all(text: str) -> list[models.Model]:
    """Make a row of every model that has pages, and an entry in its history. Call inside a transaction."""
    made: dict[type[models.Model], models.Model] = {}
    rows = [_row(model, text, made) for model in shown_models()]
    user = User.objects.earliest("pk")
    for row in rows:
        LogEntry.objects.create(
            user=user,
            content_type=ContentType.objects.get_for_model(row),
            object_id=str(row.pk),
            object_repr=text[:200],
            action_flag=CHANGE,
            change_message=text,
        )
    return rows


def _row(model: type[models.Model], text: str, made: dict[type[models.Model], models.Model]) -> models.Model:
    if model not in made:
        values = {
            field.name: _value(field, text, made)
            for field in model._meta.concrete_fields
            if not isinstance(field, models.AutoField)
        }
        row = model(**values)
        model._default_manager.bulk_create([row])
        made[model] = model._default_manager.get(pk=row.pk) if row.pk else model._default_manager.latest("pk")
    return made[model]


def _value(field: models.Field[Any, Any], text: str, made: dict[type[models.Model], models.Model]) -> Any:
    if isinstance(field, models.ForeignKey):
        if field.related_model is field.model:
            return None
        return _row(field.related_model, text, made)
    if field.choices:
        return next(value for value, _ in field.flatchoices if value)
    match field:
        case models.CharField() | models.TextField():
            return text[: field.max_length or len(text)]
        case models.UUIDField():
            return uuid4()
        case models.BooleanField():
            return True
        case models.JSONField():
            return {text: [text]}
        case models.BinaryField():
            return text.encode()
        case models.DateField():
            return RECENTLY if isinstance(field, models.DateTimeField) else RECENTLY.date()
        case models.FloatField():
            return 1.0
        case models.IntegerField():
            return 1
        case _:
            pass
    raise AssertionError(f"no text for {field}: say here what a row of {field.model.__name__} holds there")
