"""The Celery app: the one that any project has, with Nexus in it."""

from __future__ import annotations

import os

from celery import Celery

from messaging.celery import install

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")

app = Celery("nexus_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
install(app)
