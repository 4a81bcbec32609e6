"""The Celery app: the one that any project has, with Nexus in it."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals

from messaging.celery import install

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")

app = Celery("nexus_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
install(app)


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _keep_logging(**_: Any) -> None:
    """Leave logging as LOG_LEVEL has set it up: ``celery worker`` would otherwise log warnings only, by default."""
