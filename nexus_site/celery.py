"""The Celery app.

Celery runs operators' tasks (bulk replay, pruning) from its own queue. Messages are consumed beside it, in the same
worker processes, by ``messaging.receiving``.
"""

from __future__ import annotations

import os

from celery import Celery
from django.conf import settings
from kombu.entity import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")

app = Celery("nexus_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
if not settings.EMBEDDED:
    app.conf.task_queues = [
        Queue(  # type: ignore[no-untyped-call]
            settings.CELERY_TASK_DEFAULT_QUEUE,
            queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 20},
        )
    ]
app.autodiscover_tasks(["messaging", "messaging.receiving"])
