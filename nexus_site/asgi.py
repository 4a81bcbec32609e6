"""The ASGI entrance: streams of live pages take no thread and no database connection while they wait."""

from __future__ import annotations

import os
from importlib import import_module

from django.core.asgi import get_asgi_application
from django.db import connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nexus_site.settings")
_django = get_asgi_application()
application = import_module("nexus_api.body_limit").BodyLimit(_django)  # it needs the apps, which are loaded now
# Every request has a thread of its own here: a connection that is kept would be found by none, and stay.
for _database in connections.settings.values():
    _database["CONN_MAX_AGE"] = 0
