"""/metrics: who may read it, and that its figures are those of the log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from messaging.api import Envelope, HandlerContext
from messaging.core.errors import TerminalError
from messaging.log import fold_tallies
from messaging.log.tallies import MAX_AGENTS, OTHERS, TallyKey, add_tallies
from messaging.models import TOTAL, Delivery, DeliveryState, Message, MetricTally
from messaging.observing.metrics import exposition
from tests.support.lab import Lab
from tests.support.scraping import Samples, samples, value

Scrape = Callable[[], Samples]


@pytest.fixture
def scrape(lab: Lab) -> Scrape:
    """Turns metrics on and returns what reads them with the token."""
    lab.configure(metrics="on", metrics_token="t0ken")

    def read() -> Samples:
        answer = Client().get("/metrics", headers={"authorization": "Bearer t0ken"})
        assert answer.status_code == 200, answer.content
        return samples(answer.content.decode())

    return read


def test_who_may_read_it(lab: Lab) -> None:
    lab.configure(metrics_token="t0ken")
    token = {"authorization": "Bearer t0ken"}
    assert Client().get("/metrics", headers=token).status_code == 404, "off by default"
    lab.configure(metrics="on")
    assert Client().get("/metrics", headers=token).status_code == 200
    assert Client().get("/metrics").status_code == 403
    assert Client().get("/metrics", headers={"authorization": "Bearer other"}).status_code == 403
    lab.configure(metrics_token="")
    assert Client().get("/metrics", headers={"authorization": "Bearer "}).status_code == 403, "no token opens nothing"
    client = Client()
    client.force_login(User.objects.create_user("operator", is_staff=True))
    assert client.get("/metrics").status_code == 200


def test_its_figures_are_those_of_the_log(lab: Lab, scrape: Scrape) -> None:
    def answer(message: Envelope, context: HandlerContext) -> None:
        context.reply()

    def fail(message: Envelope, context: HandlerContext) -> None:
        raise TerminalError("never")

    lab.agent("answers", answer)
    lab.agent("slow", answer, leased=True)
    lab.agent("fails", fail)
    lab.agent("behind")
    for recipient in ("answers", "answers", "slow", "fails"):
        lab.bus.send(lab.bus.start_workflow("w"), recipient, "t", sender="web")
    lab.settle()
    lab.bus.send(lab.bus.start_workflow("w"), "behind", "t", sender="web")

    found = scrape()
    handled = Delivery.objects.filter(state=DeliveryState.PROCESSED).exclude(agent="web").count()
    assert handled == 3
    assert value(found, "nexus_deliveries_total", outcome="processed") == handled
    assert value(found, "nexus_deliveries_total", outcome="processed", agent="slow") == 1
    assert value(found, "nexus_deliveries_total", outcome="dead", agent="fails") == 1
    assert value(found, "nexus_messages_sent_total") == Message.objects.count() == 8
    assert value(found, "nexus_messages_sent_total", agent="web") == 5
    assert value(found, "nexus_critical_time_seconds_count") == handled
    assert value(found, "nexus_critical_time_seconds_bucket", le="+Inf") == handled
    assert 0 <= value(found, "nexus_critical_time_seconds_sum") < 60
    assert value(found, "nexus_backlog", agent="behind", state="pending") == 1
    assert value(found, "nexus_dead_letters_open") == 1
    assert value(found, "nexus_workflows_parked") == 1

    # The rows of threads that ended become one total; nothing is counted twice or lost.
    assert fold_tallies() > 0
    assert scrape() == {**found, **{key: n for key, n in scrape().items() if "oldest" in key[0]}}
    assert set(MetricTally.objects.values_list("writer", flat=True)) == {TOTAL}
    lab.settle()
    assert value(scrape(), "nexus_deliveries_total", outcome="processed") == handled + 1


def test_what_is_rolled_back_is_not_counted(lab: Lab, scrape: Scrape) -> None:
    workflow = lab.bus.start_workflow("w")
    with transaction.atomic():
        lab.bus.send(workflow, "web", "t", sender="web")
        transaction.set_rollback(True)
    assert value(scrape(), "nexus_messages_sent_total") == 0


def test_nothing_is_counted_while_it_is_off(lab: Lab) -> None:
    lab.agent("a")
    lab.bus.send(lab.bus.start_workflow("w"), "a", "t", sender="web")
    lab.settle()
    assert not MetricTally.objects.exists()


@pytest.mark.django_db
def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.log.tallies._agents", {""})
    add_tallies({TallyKey("sent", f"agent{number}"): 1 for number in range(MAX_AGENTS + 7)})
    found = samples(exposition().decode())
    assert value(found, "nexus_messages_sent_total", agent=OTHERS) == 7
