"""URLs: the admin, what ``messaging`` serves (health, sending), and the ``urls.py`` of each app in NEXUS_APPS."""

from __future__ import annotations

from importlib.util import find_spec

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView


def _urls_of_apps() -> list[str]:
    """The URL modules of the apps that NEXUS_APPS names: without the variable, none of their code is loaded."""
    configs = [apps.get_containing_app_config(name) for name in settings.NEXUS_APPS]
    modules = [f"{config.name}.urls" for config in configs if config is not None]
    return [module for module in modules if find_spec(module) is not None]


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("", include("messaging.web.urls")),
    path("api/", include("nexus_api.urls")),
    path("live/", include("nexus_live.urls")),
    path("", include("nexus_a2a.urls")),
    *(path("", include(name)) for name in _urls_of_apps()),
]
