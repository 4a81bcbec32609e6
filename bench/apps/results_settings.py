"""Django's settings for Celery with django-celery-results: nothing but the database."""

from __future__ import annotations

import os

import dj_database_url

SECRET_KEY = os.environ["SECRET_KEY"]
INSTALLED_APPS = ["django_celery_results"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=600)}
USE_TZ = True
CELERY_RESULT_BACKEND = "django-db"
CELERY_DB_REUSE_MAX = 1000  # otherwise Celery opens a connection for every task
