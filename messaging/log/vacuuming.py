"""When PostgreSQL cleans up behind the hot path."""

from __future__ import annotations

from messaging.log import rows

_DELIVERIES = "nexus_delivery"
_THRESHOLDS = {
    # Every delivery leaves two or three dead entries in the index of what is due. By PostgreSQL's default, a fifth of
    # the table, a long log would be cleaned once in millions of them, and every poll reads them all until then.
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "20000",
    "autovacuum_analyze_scale_factor": "0.02",
}


def set_thresholds() -> None:
    """Give the table of deliveries thresholds of its own, as far as it has none. PostgreSQL only.

    A value that somebody set stays. Called after every migration, so that a table which was made anew has them too.
    """
    if not rows.on_postgres():
        return
    found = rows.fetch("SELECT reloptions FROM pg_class WHERE oid = to_regclass(%s)", [_DELIVERIES])
    if not found:
        return
    given = {option.partition("=")[0] for option in found[0][0] or ()}
    missing = ", ".join(f"{name} = {value}" for name, value in _THRESHOLDS.items() if name not in given)
    if missing:
        rows.execute(f"ALTER TABLE {_DELIVERIES} SET ({missing})")
