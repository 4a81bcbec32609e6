"""The demo's own place: an empty folder, queues of its own, and settings that nothing from outside leaks into."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

from examples.harness.options import ROOT, Options

LEASE_SECONDS = 3.0
"""How soon a killed worker's leased message goes to another one. Installations take longer, this demo cannot wait."""

WORKFLOW = "demo: audit of "
"""How the names of the demo's workflows begin."""


class SetupError(Exception):
    """The demo cannot start; the message says why and what to do."""


def take_folder(folder: Path) -> IO[str]:
    """Empty the output folder and keep other runs out of it until the returned file is closed.

    Raises:
        SetupError: another run uses it, it is not ours to empty, or it cannot be written.
    """
    marker = folder / ".demo"
    try:
        if folder.exists() and not marker.exists() and any(folder.iterdir()):
            raise SetupError(f"{folder} is not empty and was not made by this demo. Choose another one: --output PATH")
        folder.mkdir(parents=True, exist_ok=True)
        lock = marker.open("w", encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{folder} cannot be written: {error.strerror}. Choose another one: --output PATH") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise SetupError(
            f"Another demo is running in {folder}. Wait for it, or choose another one: --output PATH"
        ) from None
    for item in folder.iterdir():
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item)
        elif item != marker:
            item.unlink()
    return lock


def prepare_environment(options: Options) -> str:
    """Set the environment of this process, which its workers inherit, before Django reads its settings.

    Returns:
        The prefix of this run's queues on the broker.
    """
    for name in list(os.environ):
        if name.startswith("NEXUS_") or name in ("BROKER_URL", "DATABASE_URL", "REDIS_URL"):
            del os.environ[name]
    prefix = f"demo-{secrets.token_hex(4)}."
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "nexus_site.settings",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "LOG_LEVEL": "ERROR",  # of this process; the others write to their log files
        "NEXUS_DATA_DIR": str(options.output / "data"),
        "NEXUS_APPS": "examples.audit_team",
        "NEXUS_QUEUE_PREFIX": prefix,
        # A run has keys of its own: the database may be a real one, and what a former run signed with is gone.
        "NEXUS_SIGNER": prefix.rstrip("."),
        "NEXUS_MASTER_KEY": secrets.token_hex(32),
        "NEXUS_LEASE_SECONDS": str(LEASE_SECONDS),
        "NEXUS_REDELIVERY_AFTER": "3",
        "NEXUS_LOCAL_DELIVERY": "off",  # so that every message is where it can be taken out, doubled and reordered
    }
    os.environ.setdefault("SECRET_KEY", secrets.token_urlsafe(50))
    if options.broker:
        os.environ["BROKER_URL"] = options.broker
    if options.database:
        os.environ["DATABASE_URL"] = options.database
    return prefix


def prepare_database() -> None:
    """Create the tables, and end what an interrupted demo left behind.

    Raises:
        SetupError: the database cannot be reached, or an installation works on it.
    """
    from django.core.management import call_command
    from django.db import Error as DatabaseError
    from django.db import connection
    from django.utils import timezone

    from messaging.api import ReliableCommunicationBus
    from messaging.models import OPEN_STATUSES, RelayLease, Workflow

    try:
        has_tables = RelayLease._meta.db_table in connection.introspection.table_names()
        if has_tables and RelayLease.objects.filter(expires_at__gt=timezone.now()).exists():
            raise SetupError(
                "A relay works on this database, so an installation uses it (or a demo was killed seconds ago). "
                "Give the demo a database of its own: make demo DATABASE_URL=postgres://…"
            )
        call_command("migrate", verbosity=0, skip_checks=True)
        bus = ReliableCommunicationBus()
        for identifier in Workflow.objects.filter(name__startswith=WORKFLOW, status__in=OPEN_STATUSES).values_list(
            "pk", flat=True
        ):
            bus.cancel_workflow(identifier, "left over from an interrupted demo")
    except DatabaseError as error:
        raise SetupError(f"The database cannot be used: {error}".strip()) from None


def prepare_broker() -> None:
    """Create the queues.

    Raises:
        SetupError: the broker cannot be reached.
    """
    from messaging.api import NexusError
    from messaging.transport.current import get_broker

    try:
        get_broker().initialize()
    except NexusError as error:
        raise SetupError(f"The broker cannot be used: {error}") from None


def remove_queues(broker: str, prefix: str) -> None:
    """Leave nothing behind on a real broker."""
    if not broker:
        return
    from amqp.exceptions import AMQPError
    from django.conf import settings

    from messaging.brokers import nexus_topology
    from messaging.conf import get_settings
    from nexus_site import celery_app

    topology = nexus_topology(prefix, get_settings().queue_partitions)
    tasks: str = settings.CELERY_TASK_DEFAULT_QUEUE
    with suppress(AMQPError, OSError), celery_app.connection_for_write(connect_timeout=3) as connection:
        channel = connection.default_channel
        for queue in (*(spec.name for spec in topology.queues), tasks):
            channel.queue_delete(queue)
        for exchange in (*(spec.name for spec in topology.exchanges), tasks):
            channel.exchange_delete(exchange)
