"""The dashboard: minutes are counted once and right, what is wrong comes first, every figure leads to its rows."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from messaging.api import HandlerContext, TerminalError
from messaging.core.ids import delivery_id, uuid7_floor
from messaging.models import Delivery, DeliveryState, Message, MinuteFigures, WorkerStatus
from messaging.observing import dashboard, minutes
from messaging.observing.system import system
from tests.support.lab import Lab
from tests.support.operators import superuser


def refuse(message: object, context: HandlerContext) -> None:
    raise TerminalError("no")


def move(minutes_back: float, took: float = 0.25) -> None:
    """Let everything in the log have happened earlier: ids tell when."""
    base = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes_back) + timedelta(seconds=20)
    for number, message in enumerate(Message.objects.order_by("pk")):
        new = uuid7_floor(base + timedelta(milliseconds=number))
        for index, row in enumerate(Delivery.objects.filter(message_id=message.pk).order_by("pk"), 1):
            settled = base + timedelta(milliseconds=number, seconds=took) if row.settled_at else None
            Delivery.objects.filter(pk=row.pk).update(id=delivery_id(new, index), message_id=new, settled_at=settled)
        Message.objects.filter(pk=message.pk).update(id=new)


def test_a_minute_is_counted_and_counted_again_until_it_is_settled(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minutes, "MAX_BACK", 10)
    lab.agent("clerk")
    lab.agent("broken", refuse)
    for _ in range(3):
        lab.send(lab.workflow(), "clerk", 1)
    lab.send(lab.workflow(), "broken", 1)
    lab.settle()
    lab.agent("later")
    lab.send(lab.workflow(), "later", 1)
    move(2)
    minutes.record()
    row = MinuteFigures.objects.get(messages__gt=0)
    assert (row.messages, row.deliveries, row.handled, row.given_up) == (5, 5, 3, 1)
    assert row.median_seconds == pytest.approx(0.25, abs=0.01)
    Delivery.objects.filter(agent="later").update(state=DeliveryState.PROCESSED, settled_at=timezone.now())
    minutes.record()
    row.refresh_from_db()
    assert (row.handled, row.given_up) == (4, 1)
    assert row.slowest_seconds is not None
    assert row.slowest_seconds > 30
    assert MinuteFigures.objects.count() == minutes.MAX_BACK


def test_old_minutes_go(lab: Lab) -> None:
    MinuteFigures.objects.create(minute=timezone.now() - minutes.KEPT - timedelta(minutes=1), messages=1)
    minutes.record()
    assert not MinuteFigures.objects.filter(messages=1).exists()


@pytest.mark.parametrize(("span", "count"), [("hour", 60), ("day", 96), ("week", 84)])
def test_a_chart_has_every_step_and_loses_nothing(lab: Lab, span: str, count: int) -> None:
    now = timezone.now().replace(second=0, microsecond=0)
    for number in range(1, 50):
        MinuteFigures.objects.create(
            minute=now - timedelta(minutes=number), deliveries=10, handled=9, given_up=1, slowest_seconds=number / 10
        )
    steps = dashboard.steps(span)
    assert len(steps) == count
    assert sum(step.sent for step in steps) == 490
    assert sum(step.handled for step in steps) == 441
    assert max(step.slowest_seconds or 0 for step in steps) == pytest.approx(4.9)


def test_what_is_wrong_comes_first_and_every_figure_is_a_link(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_max_age", -1.0)
    lab.agent("broken", refuse)
    lab.send(lab.workflow(), "broken", 1)
    lab.settle()
    WorkerStatus.objects.all().delete()
    client = superuser()
    html = ""
    for url in ("/admin/", "/admin/nexus/"):
        html = client.get(url).content.decode()
        assert html.index('id="nexus-problems"') < html.index("nexus-tiles") < html.index("nexus-chart")
        assert "start one: celery -A" in html, "no worker runs: the page says what to do"
    tiles = re.findall(r'<a href="([^"]+)"><b>([^<]+)</b> <span>([^<]+)</span>', html)
    assert ("1", "open dead letters") in {(value, name) for _, value, name in tiles}
    for link, _, name in tiles:
        assert client.get(link).status_code == 200, name
    assert client.get("/admin/nexus/?span=nonsense").status_code == 200


def test_who_may_not_see_workflows_sees_no_figures(db: None) -> None:
    user = User.objects.create_user("guest", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_agent"))
    client = Client()
    client.force_login(user)
    response = client.get("/admin/")
    assert response.status_code == 200
    assert "nexus-tiles" not in response.content.decode()
