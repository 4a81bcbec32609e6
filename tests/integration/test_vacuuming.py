"""PostgreSQL's thresholds for the table of deliveries."""

from __future__ import annotations

import pytest
from django.db import connection

from messaging.log.vacuuming import set_thresholds


def options() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT unnest(reloptions) FROM pg_class WHERE relname = 'nexus_delivery'")
        return {row[0] for row in cursor.fetchall()}


@pytest.mark.django_db
def test_deliveries_are_cleaned_by_number_and_what_an_operator_set_stays(database_vendor: str) -> None:
    if database_vendor != "postgres":
        set_thresholds()
        return
    assert "autovacuum_vacuum_scale_factor=0" in options(), "migrating sets them"
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE nexus_delivery RESET (autovacuum_vacuum_scale_factor)")
        cursor.execute("ALTER TABLE nexus_delivery SET (autovacuum_vacuum_threshold = 7)")
    set_thresholds()
    assert options() >= {"autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=7"}
