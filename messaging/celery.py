"""Nexus in a project's Celery app.

    app = Celery("shop")
    app.config_from_object("django.conf:settings", namespace="CELERY")
    app.autodiscover_tasks()
    messaging.celery.install(app)

From then on the app's workers handle messages in consumer threads of their own, beside the project's tasks, and run
operators' tasks (bulk replay, pruning) from a queue of their own. The project's queues, routes and tasks stay as they
are.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery
from celery.app.defaults import DEFAULTS
from django.conf import settings as django_settings

from messaging.brokers import BrokerKind, kind_of, nexus_topology
from messaging.brokers.kind import plain_queue
from messaging.brokers.topology import Topology
from messaging.conf import NexusSettings, get_settings
from messaging.core.envelope import CONTENT_TYPE
from messaging.core.errors import ConfigurationError

TASK_QUEUE = "nexus.tasks"
TASKS = "nexus.*"
"""The names of operators' tasks."""

RESULTS_APP, RESULT_BACKEND = "django_celery_results", "django-db"
COPIED_URL = "CELERY_BROKER_URL"
"""Where the celery command copies BROKER_URL, which is the messages' broker. It would count more than the settings."""


def install(app: Celery) -> None:
    """Have an app's workers handle messages and run operators' tasks.

    Call it last, once the app is configured. A setting that the project has changed is left as it is; the system checks
    say where that is unsafe. Where the settings of Nexus cannot be read, the queues are left out: nexus.E001 says why.

    Args:
        app: the project's.
    """
    app.autodiscover_tasks(["messaging", "messaging.receiving"])
    try:
        settings = get_settings()
    except ConfigurationError:
        return
    kind = kind_of(settings.broker_url)
    if kind is None:
        return
    if os.environ.get(COPIED_URL) == settings.broker_url:
        del os.environ[COPIED_URL]
    shared = _configure(app, kind, settings)
    carrier = kind if shared else kind_of(str(app.conf.broker_url))
    if carrier is not None:
        carrier.prepare_celery()
    _add_queues(app, carrier, nexus_topology(settings.queue_prefix), with_messages=shared)


def own_queues() -> frozenset[str]:
    """Names of the queues that ``install`` adds; empty where the settings cannot be read."""
    try:
        topology = nexus_topology(get_settings().queue_prefix)
    except ConfigurationError:
        return frozenset()
    return frozenset({topology.name(TASK_QUEUE), *(queue.name for queue in topology.queues)})


def is_installed(app: Any) -> bool:
    """Whether ``install`` was called for an app."""
    return any(name in app.amqp.queues for name in own_queues())


def _configure(app: Any, kind: BrokerKind, settings: NexusSettings) -> bool:
    """Set what the project has left as it comes; return whether tasks go through the messages' broker, or beside it."""
    wanted: dict[str, Any] = {
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        "accept_content": ["json", CONTENT_TYPE],  # messages, for a worker that reads their queues itself (-Q)
    }
    if RESULTS_APP in django_settings.INSTALLED_APPS:
        wanted["result_backend"] = RESULT_BACKEND
    shared = app.conf.broker_url in (None, settings.broker_url)
    if shared:
        wanted |= kind.celery_settings(settings.broker_url, folder=Path(settings.data_dir))
    app.conf.update(
        {name: value for name, value in wanted.items() if app.conf[name] == DEFAULTS[name] or name == "broker_url"}
    )
    return shared


def _add_queues(app: Any, carrier: BrokerKind | None, topology: Topology, *, with_messages: bool) -> None:
    """Add the queue of operators' tasks, which every worker reads, and those of messages, which ``-Q`` can name."""
    name = topology.name(TASK_QUEUE)
    route = {TASKS: {"queue": name}}
    routes = app.conf.task_routes or []
    routes = list(routes) if isinstance(routes, (list, tuple)) else [routes]
    if route not in routes:
        app.conf.task_routes = [*routes, route]
        app.amqp.flush_routes()
    queues = app.amqp.queues
    declared = {queue.name for queue in app.conf.task_queues or () if hasattr(queue, "name")}
    if name not in declared:
        queues.select_add(carrier.task_queue(name) if carrier is not None else plain_queue(name))
    for queue in carrier.message_queues(topology) if carrier is not None and with_messages else ():
        queues.add(queue)
