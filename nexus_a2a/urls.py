"""URLs of A2A, at the root of a site: ``path("", include("nexus_a2a.urls"))``."""

from __future__ import annotations

from django.urls import URLPattern, path

from nexus_a2a.views import card, keys, rpc
from nexus_api.entrance import enter

WELL_KNOWN = ".well-known/agent-card.json"

urlpatterns: list[URLPattern] = [
    path(WELL_KNOWN, enter(card), name="nexus-a2a-first-card"),
    path("a2a/keys", enter(keys), name="nexus-a2a-keys"),
    path("a2a/teams/<str:team>", enter(rpc), name="nexus-a2a"),
    path(f"a2a/teams/<str:team>/{WELL_KNOWN}", enter(card), name="nexus-a2a-card"),
]
