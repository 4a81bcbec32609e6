"""Bulk runs over dead letters: looked at first, paced, cancelled; killed in the middle, nothing is done twice."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from messaging import tasks
from messaging.api import HandlerContext, TerminalError
from messaging.core.errors import EnvelopeError, ReplayError
from messaging.models import BulkRun, DeadLetter, Entrance, OperatorAct
from messaging.operators import bulk
from messaging.operators.acts import Actor
from messaging.operators.dead_letters import DeadLetterFilter
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.support.lab import Lab

ANN = Actor("ann", Entrance.ADMIN)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def refuse(message: object, context: HandlerContext) -> None:
    raise TerminalError("closed")


def dead_letters(lab: Lab, count: int) -> UUID:
    lab.agent("clerk", refuse)
    workflow = lab.workflow(failure_policy="skip")
    for number in range(count):
        lab.send(workflow, "clerk", {"number": number})
    lab.settle()
    assert DeadLetter.objects.filter(status="open").count() == count
    lab.agent("clerk")
    return workflow


@pytest.mark.timeout(90)
def test_killed_in_the_middle_it_goes_on_and_does_nothing_twice(
    lab: Lab, project_environment: dict[str, str], database_url: str, tmp_path: Path
) -> None:
    workflow = dead_letters(lab, 30)
    lost = DeadLetter.objects.filter(status="open").order_by("-pk").first()
    assert lost is not None
    DeadLetter.objects.filter(pk=lost.pk).update(delivery=None)  # it cannot be replayed
    run = bulk.begin("replay", DeadLetterFilter(agent="clerk"), actor=ANN, reason="open again", rate=20)
    BulkRun.objects.update(next_at=LONG_AGO)  # the lab's clock is ahead of the process's
    work = f"from messaging.tasks import resolve_in_bulk as t; t.apply(args=['{run.pk}']).get()"
    code = f"import django; django.setup(); {work}"
    environment = {**project_environment, "DATABASE_URL": database_url}
    process = Supervised([sys.executable, "-c", code], log_file=tmp_path / "bulk.log", environment=environment).start()
    wait_until(lambda: BulkRun.objects.get().done >= 5, 15, process.log)
    process.kill()
    stopped = BulkRun.objects.get()
    assert stopped.status == "running"
    assert stopped.done == DeadLetter.objects.filter(status="replayed").count() < 29
    BulkRun.objects.update(rate=1_000, next_at=LONG_AGO)
    result = tasks.resolve_in_bulk.apply(args=[str(run.pk)]).get()
    assert (result["status"], result["done"], result["failed"]) == ("done", 29, 1)
    assert "belongs to no delivery" in result["problems"][0]
    acts = Counter(OperatorAct.objects.filter(action="replay").values_list("key", flat=True))
    assert (len(acts), set(acts.values())) == (29, {1})
    lab.settle()
    assert len(lab.ledger.handled(workflow, "clerk")) == 29
    assert lab.ledger.doubles() == []
    assert tasks.resolve_in_bulk.apply(args=[str(run.pk)]).get() == result


def test_what_dies_after_it_began_is_left_alone_and_cancelling_stops_it(lab: Lab) -> None:
    workflow = dead_letters(lab, 4)
    chosen = DeadLetterFilter.like(DeadLetter.objects.latest("pk").pk)
    assert bulk.preview(chosen).count == 4
    run = bulk.begin("discard", chosen, actor=ANN, reason="of no use", rate=1_000)
    lab.agent("clerk", refuse)
    lab.send(workflow, "clerk", {"number": 5})
    lab.settle()
    while not BulkRun.objects.get().done:
        bulk.step(run.pk)
    assert bulk.cancel(run.pk, actor=ANN) == ""
    assert bulk.step(run.pk) is None
    assert bulk.cancel(run.pk, actor=ANN) == "is cancelled already."
    assert DeadLetter.objects.filter(status="discarded").count() == 1
    second = bulk.begin("discard", chosen, actor=ANN, reason="of no use", rate=1_000)
    tasks.resolve_in_bulk.apply(args=[str(second.pk)]).get()
    assert DeadLetter.objects.filter(status="open").count() == 0
    assert [act.action for act in OperatorAct.objects.filter(kind="bulkrun").order_by("pk")] == [
        "begin to discard in bulk",
        "cancel",
        "begin to discard in bulk",
    ]


def test_it_keeps_its_rate(lab: Lab) -> None:
    dead_letters(lab, 2)
    run = bulk.begin("discard", DeadLetterFilter(), actor=ANN, reason="of no use", rate=0.5)
    assert 1.0 < (bulk.step(run.pk) or 0) <= 2.0
    assert 1.0 < (bulk.step(run.pk) or 0) <= 2.0, "a second process waits as well"
    assert BulkRun.objects.get().done == 1


def test_what_cannot_be_begun(lab: Lab) -> None:
    with pytest.raises(ReplayError, match="No open dead letter"):
        bulk.begin("replay", DeadLetterFilter(agent="nobody"), actor=ANN, reason="x")
    with pytest.raises(ReplayError, match="rate"):
        bulk.begin("replay", DeadLetterFilter(), actor=ANN, reason="x", rate=0)
    with pytest.raises(EnvelopeError):
        bulk.begin("replay", DeadLetterFilter(), actor=ANN, reason="")
    assert not BulkRun.objects.exists()
