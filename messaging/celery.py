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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celery import Celery, signals
from celery.app.defaults import DEFAULTS
from django.conf import settings as django_settings
from kombu.entity import Queue

from messaging.brokers import BrokerKind, kind_of, nexus_topology
from messaging.brokers.kind import plain_queue
from messaging.brokers.rabbitmq.bundles import BUNDLE_TYPE
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

    A setting that the project has changed is left as it is; the system checks say where that is unsafe. No settings are
    read yet: that waits, as with Celery's own, until the app's configuration is first needed. Where those of Nexus
    cannot be read, the queues are left out: nexus.E001 says why.

    Args:
        app: the project's.
    """
    app.autodiscover_tasks(["messaging", "messaging.receiving"])
    if app.configured:
        _complete(app)
        vars(app).pop("amqp", None)  # made anew, with the queues that it has now
    else:
        app.on_after_configure.connect(_complete, weak=False)


def _complete(sender: Any, **_: Any) -> None:
    try:
        settings = get_settings()
    except ConfigurationError:
        return
    kind = kind_of(settings.broker_url)
    if kind is None:
        return
    if os.environ.get(COPIED_URL) == settings.broker_url:
        del os.environ[COPIED_URL]
    shared = _configure(sender, kind, settings)
    carrier = kind if shared else kind_of(str(sender.conf.broker_url))
    if carrier is not None:
        carrier.prepare_celery()
    _add_task_queue(sender.conf, carrier, nexus_topology(settings.queue_prefix).name(TASK_QUEUE))


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]
def _name_message_queues(instance: Any, **_: Any) -> None:
    """Let ``-Q`` name the queues of messages, with their arguments. Without it, Celery's own path takes tasks only."""
    if not is_installed(instance.app):
        return
    settings = get_settings()
    kind = kind_of(settings.broker_url)
    if kind is not None and instance.app.conf.broker_url == settings.broker_url:
        for queue in kind.message_queues(nexus_topology(settings.queue_prefix, settings.queue_partitions)):
            instance.app.amqp.queues.add(queue)


def own_queues() -> frozenset[str]:
    """Names of the queues that ``install`` adds; empty where the settings cannot be read."""
    try:
        settings = get_settings()
        topology = nexus_topology(settings.queue_prefix, settings.queue_partitions)
    except ConfigurationError:
        return frozenset()
    return frozenset({topology.name(TASK_QUEUE), *(queue.name for queue in topology.queues)})


def is_installed(app: Any) -> bool:
    """Whether ``install`` was called for an app."""
    return not own_queues().isdisjoint(app.amqp.queues)


def _configure(app: Any, kind: BrokerKind, settings: NexusSettings) -> bool:
    """Set what the project has left as it comes; return whether tasks go through the messages' broker, or beside it."""
    wanted: dict[str, Any] = {
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,
        # messages too, for a worker that reads their queues itself (-Q)
        "accept_content": ["json", CONTENT_TYPE, BUNDLE_TYPE],
    }
    if RESULTS_APP in django_settings.INSTALLED_APPS:
        wanted["result_backend"] = RESULT_BACKEND
    shared = (app.conf.broker_url or settings.broker_url) == settings.broker_url
    if shared:
        wanted |= kind.celery_settings(settings.broker_url, folder=Path(settings.data_dir))
    app.conf.update(
        {name: value for name, value in wanted.items() if app.conf[name] == DEFAULTS[name] or name == "broker_url"}
    )
    return shared


def _add_task_queue(conf: Any, carrier: BrokerKind | None, name: str) -> None:
    """Add the queue of operators' tasks, which every worker without ``-Q`` reads, to those that the project has."""
    route = {TASKS: {"queue": name}}
    routes = conf.task_routes or []
    routes = list(routes) if isinstance(routes, (list, tuple)) else [routes]
    if route not in routes:
        conf.task_routes = [*routes, route]
    queues = conf.task_queues or [_default_queue(conf)]
    if not isinstance(queues, Mapping):
        queues = {queue.name: queue for queue in queues}
    if name not in queues or not conf.task_queues:
        own = carrier.task_queue(name) if carrier is not None else plain_queue(name)
        conf.task_queues = {**queues, name: own}


def _default_queue(conf: Any) -> Queue:
    """The queue that Celery makes where a project declares none."""
    arguments = {"x-queue-type": "quorum"} if conf.task_default_queue_type == "quorum" else None
    return Queue(conf.task_default_queue, queue_arguments=arguments)  # type: ignore[no-untyped-call]
