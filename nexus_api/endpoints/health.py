"""Health, with its details. Load balancers ask ``/health/``, which needs no token."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from messaging.operating import system
from nexus_api.routing import reads
from nexus_api.scopes import Scope
from nexus_api.shapes.answers import HealthOut

router = Router(tags=["health"])


@reads(router, "", Scope.HEALTH_READ, {200: HealthOut})
def health(request: HttpRequest) -> Any:
    return system.report().as_dict()
