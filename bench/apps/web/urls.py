"""One address."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_POST

from bench.apps.relay import TEXT, first_leg
from bench.apps.web.models import Order

WORKFLOWS = 200


def _sender() -> Callable[[dict[str, Any]], object]:
    if os.environ["BENCH_WEB"] == "celery":
        from bench.apps.celery_relay import TASKS

        return lambda body: TASKS["ping"].delay_on_commit(body)
    from messaging.api import ReliableCommunicationBus

    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    workflows = [bus.start_workflow("orders") for _ in range(WORKFLOWS)]
    return lambda body: bus.send(workflows[body["conversation"] % WORKFLOWS], "ping", "race.leg", body, sender="web")


_send = _sender()


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    """Save a row and send, in one transaction."""
    number = json.loads(request.body)["number"]
    with transaction.atomic():
        Order(number=number, text=TEXT).save()
        _send(first_leg(number, 1))
    return HttpResponse("saved")


urlpatterns = [path("", order)]
