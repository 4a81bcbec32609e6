"""The Celery app.

Celery runs operators' tasks (bulk replay, pruning) from its own queue. Messages are consumed beside it, in the same
worker processes, by ``messaging.receiving``.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from django.conf import settings
from kombu.entity import Exchange, Queue

from messaging.brokers.rabbitmq.celery_wire import contain_unreadable_messages
from messaging.brokers.topology import LEASED_QUEUE, MAIN_EXCHANGE, TRANSACTIONAL_QUEUE, nexus_topology
from nexus_site.confirms import limit_confirms

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")

CONFIRM_TIMEOUT = 10.0
TASK_QUEUE = settings.CELERY_TASK_DEFAULT_QUEUE
PREFIX = os.environ.get("NEXUS_QUEUE_PREFIX", "")
MESSAGE_QUEUES = [PREFIX + TRANSACTIONAL_QUEUE, PREFIX + LEASED_QUEUE]


def _queues() -> list[Queue]:
    """Celery's own queue, and those of messages as they are, so that ``-Q`` can name them."""
    exchange = Exchange(PREFIX + MAIN_EXCHANGE, type="direct")  # type: ignore[no-untyped-call]
    own = Queue(TASK_QUEUE, queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 20})  # type: ignore[no-untyped-call]
    messages = [
        Queue(spec.name, exchange, spec.name, queue_arguments=spec.arguments())  # type: ignore[no-untyped-call]
        for spec in nexus_topology(PREFIX).queues
        if spec.name in MESSAGE_QUEUES
    ]
    return [own, *messages]


app = Celery("nexus_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
if not settings.EMBEDDED:
    app.conf.task_queues = _queues()
    limit_confirms(CONFIRM_TIMEOUT)
    contain_unreadable_messages()
app.autodiscover_tasks(["messaging", "messaging.receiving"])


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _leave_messages_to_the_consumer(instance: Any, **_: Any) -> None:
    """Without ``-Q``, Celery's own path takes tasks only: the consumer takes messages, in batches."""
    queues = instance.app.amqp.queues
    if TASK_QUEUE in queues.consume_from:
        queues.deselect(MESSAGE_QUEUES)
