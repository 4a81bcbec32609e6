"""The run's database for tests in which commits are real, emptied quickly."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import TransactionTestCase

from messaging.models import OperatorAct

__all__ = ["committed_database", "empty_tables", "quick_flush"]


def empty_tables() -> None:
    """Remove every row of ours. Django's flush truncates all tables, which takes twenty times as long."""
    with transaction.atomic(), connection.cursor() as cursor:
        models = [
            model
            for app in ("nexus", "nexus_api", "nexus_a2a", "nexus_live")
            for model in apps.get_app_config(app).get_models(True)
        ]
        for model in models:
            table = connection.ops.quote_name(model._meta.db_table)
            if model is OperatorAct and connection.vendor == "postgresql":  # which lets nobody delete from it
                if model._default_manager.exists():
                    cursor.execute(f"TRUNCATE {table}")
                continue
            cursor.execute(f"DELETE FROM {table}")
        if User.objects.exists():  # whom `admin_client` and others made; the next test makes its own
            User.objects.all().delete()


@pytest.fixture
def quick_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``transactional_db``, when it is set up behind this, end with ``empty_tables``."""
    monkeypatch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty_tables())


@pytest.fixture
def committed_database(quick_flush: None, transactional_db: None, database_vendor: str) -> None:
    """The run's database, empty of our rows, in which commits are real."""
    if database_vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")  # nobody cuts the power here
