"""URLs of the API: ``path("api/", include("nexus_api.urls"))``."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path

from nexus_api.building import api
from nexus_api.docs import docs, openapi
from nexus_api.entrance import enter, nothing_here


def _endpoints() -> list[URLPattern | URLResolver]:
    found: list[URLPattern | URLResolver] = []
    for pattern in api.urls[0]:
        if isinstance(pattern, URLPattern) and pattern.name != "api-root":
            pattern.callback = enter(pattern.callback)
            found.append(pattern)
    return found


urlpatterns = [
    path("docs", docs, name="nexus-api-docs"),
    path("openapi.json", openapi, name="nexus-api-openapi"),
    *_endpoints(),
    re_path(r"", enter(nothing_here), name="nexus-api-unknown"),
]
