"""What a project's settings module calls.

from messaging.django_settings import configure, environment_settings

NEXUS = environment_settings(os.environ)  # optional: without it, what ``messaging.conf`` has as defaults
configure(globals())  # last
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from messaging.core.database_options import configure_postgres

PREFIX = "NEXUS_"

SQLITE_OPTIONS: dict[str, object] = {
    # IMMEDIATE: a transaction that will write takes the write lock at once instead of failing in its middle.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    # synchronous=FULL: the last commits survive a power cut, which NORMAL does not promise.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-20000;",
}
POSTGRESQL_OPTIONS: dict[str, object] = {
    # A server that is gone without a word is noticed within seconds, not within hours.
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    # The few statements of a single message are planned once a session. Django prepares nothing of its own.
    "prepare_threshold": 5,
}
OPTIONS = {
    "django.db.backends.sqlite3": SQLITE_OPTIONS,
    "django.db.backends.postgresql": POSTGRESQL_OPTIONS,
}


def configure(settings: dict[str, Any], *, pooling: str = "none") -> None:
    """Complete a project's settings: the options of its default database. What is set there already stays.

    Args:
        settings: the settings module's ``globals()``.
        pooling: what stands between Django and PostgreSQL (see ``messaging.core.database_options``).

    Raises:
        ConfigurationError: there is no such pooling, or it cannot keep the database's ``options``.
    """
    database = settings.get("DATABASES", {}).get("default")
    if database is not None:
        database["OPTIONS"] = {**OPTIONS.get(database.get("ENGINE", ""), {}), **database.get("OPTIONS", {})}
        if pooling != "none":
            configure_postgres(database, pooling)


def environment_settings(environment: Mapping[str, str], *, leave_out: Collection[str] = ()) -> dict[str, Any]:
    """Read ``NEXUS_<NAME>=value`` variables, and ``BROKER_URL``, as a ``NEXUS`` dictionary.

    Args:
        environment: such as ``os.environ``.
        leave_out: variables that begin with ``NEXUS_`` and mean something else.
    """
    values: dict[str, Any] = {
        name.removeprefix(PREFIX): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name not in leave_out
    }
    if environment.get("BROKER_URL"):
        values.setdefault("BROKER_URL", environment["BROKER_URL"])
    return values
