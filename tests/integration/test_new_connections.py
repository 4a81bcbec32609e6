"""A connection that is being made while another thread asks for checks."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="PostgreSQL's connections have a state"),
]


def test_a_check_that_is_asked_for_meanwhile_begins_no_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = connection.get_new_connection

    def asked_meanwhile(parameters: Any) -> Any:
        made = connect(parameters)
        connection.health_check_done = False  # type: ignore[attr-defined]  # by ``drop_if_lost`` of another thread
        return made

    connection.ensure_connection()
    connection.close()
    monkeypatch.setattr(connection, "get_new_connection", asked_meanwhile)
    monkeypatch.setattr(connection, "health_check_enabled", True)
    connection.ensure_connection()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    connection.close()
