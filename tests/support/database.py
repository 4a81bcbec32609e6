"""The run's database for tests in which commits are real, emptied quickly."""

from __future__ import annotations

from functools import cache

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Count, Model
from django.test import TransactionTestCase

from messaging.models import GivenPermission, OperatorAct
from messaging.security.access.permissions import create_groups

__all__ = ["committed_database", "empty_tables", "flush_quickly"]

# What migrations put there, and tests hardly change.
_KEPT = {ContentType, Permission, Group, Group.permissions.through, GivenPermission}


@cache
def _deletions(without: type[Model] | None = None) -> list[str]:
    models = set(apps.get_models(include_auto_created=True)) - _KEPT - {without}
    return [f"DELETE FROM {connection.ops.quote_name(model._meta.db_table)}" for model in models]


def _groups() -> tuple[object, ...]:
    given = Group.objects.annotate(given=Count("permissions")).order_by("name").values_list("name", "given")
    return (*given, GivenPermission.objects.count())


def empty_tables() -> None:
    """Remove every row but those of migrations. Django's flush takes ten times as long."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            if OperatorAct.objects.exists():  # from which nobody may delete there
                cursor.execute(f"TRUNCATE {connection.ops.quote_name(OperatorAct._meta.db_table)}")
            cursor.execute(";".join(_deletions(without=OperatorAct)))  # in one trip
        else:
            for deletion in _deletions():
                cursor.execute(deletion)
        if _groups() != _made_groups():
            Group.objects.all().delete()
            create_groups(restore=True)


@cache
def _made_groups() -> tuple[object, ...]:
    """The groups as they are made."""
    Group.objects.all().delete()
    create_groups(restore=True)
    return _groups()


def flush_quickly() -> None:
    """Let every test with real commits end with ``empty_tables``."""
    TransactionTestCase._fixture_teardown = lambda _: empty_tables()  # type: ignore[attr-defined]


@pytest.fixture
def committed_database(transactional_db: None, database_vendor: str) -> None:
    """The run's database, empty of our rows, in which commits are real."""
    if database_vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")  # nobody cuts the power here
