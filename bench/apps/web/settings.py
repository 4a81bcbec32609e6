"""Settings of the site; BENCH_WEB says whether it sends with Nexus or with Celery."""

from __future__ import annotations

import os

import dj_database_url

from messaging.django_settings import configure

SECRET_KEY = os.environ["SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "bench.apps.web.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["bench.apps.web"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=600)}
if os.environ["BENCH_WEB"] == "nexus":
    INSTALLED_APPS += ["messaging", "agents", "django.contrib.auth", "django.contrib.contenttypes"]
    NEXUS = {"BROKER_URL": os.environ["BROKER_URL"], "DATA_DIR": os.environ["NEXUS_DATA_DIR"]}
    configure(globals())
