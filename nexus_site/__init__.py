"""The Django project: settings, Celery app, URLs."""

from nexus_site.celery import app as celery_app

__all__ = ["celery_app"]
