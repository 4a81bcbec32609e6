"""A workflow's page: everything that happened in it, a window at a time, and what an operator may do there."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from messaging.api import Envelope, HandlerContext, TransientError
from messaging.core.envelope import build_envelope
from messaging.core.ids import delivery_id, new_message_id
from messaging.models import DeadLetter, Delivery, Mailbox, Message, OperatorAct, Workflow
from messaging.operators.timeline import WINDOW
from tests.integration.test_commands import run
from tests.support.api import ApiCaller
from tests.support.lab import Lab
from tests.support.operators import EVIL, broken_workflow, make_client, page, said, superuser

VIEWER = ("view_workflow", "view_message", "view_delivery")
LONG = int(os.environ.get("LONG_WORKFLOW", "2000"))
"""Messages; 20,000 take 12 s to store."""
MAX_QUERIES = 30


@pytest.fixture
def client(db: None) -> Client:
    """Logged in as one who may do everything."""
    return superuser()


def fill(workflow: UUID, count: int) -> None:
    """Messages as if they had been sent and handled long ago."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    box = Mailbox.objects.create(workflow_id=workflow, agent="clerk", sent=count, processed=count)
    messages, deliveries = [], []
    for number in range(1, count + 1):
        key = new_message_id()
        body = build_envelope(
            message_id=key, workflow_id=workflow, source="web", recipient="clerk", type="file.read", data=number,
            sequence=number, position=number, time=now, labels="origin:web", max_bytes=10_000,
        )  # fmt: skip
        messages.append(
            Message(id=key, workflow_id=workflow, sequence=number, type="file.read", source="web", subject="clerk",
                    envelope=body, created_at=now)
        )  # fmt: skip
        deliveries.append(
            Delivery(id=delivery_id(key, 1), message_id=key, workflow_id=workflow, mailbox=box, agent="clerk",
                     position=number, state="processed", available_at=now, settled_at=now)
        )  # fmt: skip
    Message.objects.bulk_create(messages, 1_000)
    Delivery.objects.bulk_create(deliveries, 1_000)
    Workflow.objects.filter(pk=workflow).update(sequence=count)


def test_a_long_workflow_costs_as_little_as_a_short_one(client: Client, lab: Lab) -> None:
    workflow = lab.workflow()
    fill(workflow, LONG)
    url = page(Workflow, "change", workflow)
    for query, first, last in (("", LONG - WINDOW + 1, LONG), ("?first=1001", 1_001, 1_200), ("?first=1", 1, 200)):
        with CaptureQueriesContext(connection) as queries:
            response = client.get(url + query)
        assert len(queries) <= MAX_QUERIES, [found["sql"][:100] for found in queries]
        for found in queries:
            assert "COUNT(" not in found["sql"]
            assert "OFFSET" not in found["sql"]
        shown = [row["message"].sequence for row in response.context["rows"]]
        assert shown == list(range(first, last + 1))
        assert response.content.decode().count('class="said processed"') == WINDOW
        assert {row["labels"] for row in response.context["rows"]} == {"origin:web"}
    context = client.get(url, {"first": 1}).context
    assert (context["previous"], context["next"]) == (None, 201)
    for nonsense in ("-1", "x", "9" * 30, "²"):
        assert client.get(url, {"first": nonsense}).status_code == 200
    assert client.get(url, {"first": LONG + 1}).context["rows"] == []


def test_it_shows_states_holds_retries_labels_and_acts(client: Client, lab: Lab) -> None:
    workflow = broken_workflow(lab)
    client.post(page(Workflow), {"action": "pause", "index": "0", "_selected_action": str(workflow)})
    text = client.get(page(Workflow, "change", workflow), {"verify": "1"}).content.decode()
    assert EVIL not in text
    assert "TerminalError" in text
    assert "dead letter" in text
    assert "position 2 waits for 1" in text
    assert text.count("authentic") == 2
    assert "could not handle message #1" in text
    assert '"text":"second"' in text.replace("&quot;", '"')
    assert str(timezone.localtime().year) in text


def test_an_operator_skips_a_message_that_is_not_handled(client: Client, lab: Lab) -> None:
    def busy(message: Envelope, context: HandlerContext) -> None:
        if message.data == 1:
            raise TransientError("later", retry_after=1_000_000)

    lab.agent("clerk", busy)
    workflow = lab.workflow()
    for number in (1, 2):
        lab.send(workflow, "clerk", number)
    lab.publish()
    lab.work(2)
    first, second = Delivery.objects.order_by("pk")
    urls = [reverse("admin:nexus_workflow_skip", args=[workflow, row.pk]) for row in (first, second)]
    assert "waits for position 1" in client.post(urls[1], {}).content.decode()
    assert "goes on with what comes behind" in client.get(urls[0]).content.decode()
    assert "goes on without #1" in said(client.post(urls[0], {"reason": "sent twice"}, follow=True))
    lab.settle()
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, second.state) == ("dead", "processed")
    letter = DeadLetter.objects.get()
    assert (letter.status, letter.resolved_by, letter.detail) == ("discarded", "admin", "Left out by admin: sent twice")
    act = OperatorAct.objects.get()
    assert (act.action, act.key, act.who, act.reason) == ("skip", str(workflow), "admin", "sent twice")
    assert "skip, skipped #1 for clerk" in client.get(page(Workflow, "change", workflow)).content.decode()
    assert "is dead already" in client.post(urls[0], {}).content.decode()


def test_acts_by_every_door_stand_on_the_page(client: Client, lab: Lab) -> None:
    lab.agent("clerk")
    workflow = lab.workflow()
    lab.send(workflow, "clerk", 1)
    lab.settle()
    assert run("nexus_workflows", "pause", workflow, "--reason", "tea")[0] == 0
    program = ApiCaller()
    assert program.post(f"/workflows/{workflow}/resume").status_code == 200
    client.get(reverse("admin:nexus_workflow_export", args=[workflow]))
    client.post(reverse("admin:nexus_workflow_fork", args=[workflow]), {"after": "1", "reason": "another way"})
    acts = list(OperatorAct.objects.filter(key=str(workflow)).order_by("pk").values_list("action", "entrance"))
    assert acts == [("pause", "shell"), ("resume", "api"), ("export", "admin"), ("fork", "admin")]
    text = client.get(page(Workflow, "change", workflow)).content.decode()
    for told in ("<td>command line</td><td>pause</td><td>tea</td>", "<td>API</td><td>resume</td>", "export, file"):
        assert told in text, told
    assert program.post("/agents/clerk/pause", {"reason": "upgrade"}).status_code == 200
    assert OperatorAct.objects.get(kind="agent", key="clerk").after == {"paused": True}


def test_what_is_lost_is_replayed_and_what_is_held_released(client: Client, lab: Lab) -> None:
    lab.agent("clerk")
    workflow = lab.workflow()
    first, second = lab.send(workflow, "clerk", 1), lab.send(workflow, "clerk", 2)
    stored = {delivery.id: delivery for delivery in lab.take_offered()}
    lab.publish([stored[delivery_id(second, 1)]])
    lab.work()
    Delivery.objects.filter(pk=delivery_id(first, 1)).update(state="sent")  # as if a queue had lost it
    assert lab.state_of(second) == "held"
    data = {"index": "0", "_selected_action": str(workflow), "from_page": "1"}
    assert "1 workflow replayed" in said(client.post(page(Workflow), {**data, "action": "replay_missing"}, follow=True))
    assert lab.state_of(first) == "pending"
    assert "1 workflow released" in said(client.post(page(Workflow), {**data, "action": "release"}, follow=True))
    assert lab.state_of(second) == "pending"
    lab.settle()
    assert lab.all_processed(workflow)
    assert "waits for nothing" in said(client.post(page(Workflow), {**data, "action": "replay_missing"}, follow=True))


def test_a_gap_of_the_log_is_shown(client: Client, lab: Lab) -> None:
    lab.agent("clerk")
    workflow = lab.workflow()
    lost, second = lab.send(workflow, "clerk", 1), lab.send(workflow, "clerk", 2)
    Delivery.objects.filter(message=lost).delete()
    text = client.get(page(Workflow, "change", workflow)).content.decode()
    assert "clerk waits for position 1, which the log does not have" in " ".join(text.split())
    assert lab.state_of(second) == "pending"


def test_a_viewer_sees_everything_and_may_do_nothing(lab: Lab) -> None:
    lab.agent("clerk")
    workflow = lab.workflow()
    lab.send(workflow, "clerk", "secret")
    delivery = Delivery.objects.get()
    viewer = make_client(VIEWER, name="viewer", staff=True)
    text = viewer.get(page(Workflow, "change", workflow)).content.decode()
    assert "web → clerk" in text
    for offered in ("fork …", "skip …", 'id="nexus-pause"'):
        assert offered not in text
    acts = (
        reverse("admin:nexus_workflow_fork", args=[workflow]),
        reverse("admin:nexus_workflow_skip", args=[workflow, delivery.pk]),
    )
    for url in acts:
        assert viewer.get(url).status_code == 403
        assert viewer.post(url, {"after": "1"}).status_code == 403
    for action in ("pause", "resume", "cancel", "release", "replay_missing"):
        viewer.post(page(Workflow), {"action": action, "index": "0", "_selected_action": str(workflow)})
    assert list(Workflow.objects.values_list("status", flat=True)) == ["running"]
    assert lab.state_of(delivery.message_id) == "pending"
    assert LogEntry.objects.count() == 0
    exported = reverse("admin:nexus_workflow_export", args=[workflow])
    answer = viewer.get(exported)
    told = json.loads(b"".join(answer.streaming_content))  # type: ignore[attr-defined]
    assert told["messages"][0]["envelope"]["data"] == "secret"
    other = make_client(("view_workflow",), name="other", staff=True)
    assert other.get(exported).status_code == 403
    assert "secret" not in other.get(page(Workflow, "change", workflow)).content.decode()


def test_the_list_of_messages_shows_their_states(client: Client, lab: Lab) -> None:
    workflow = broken_workflow(lab)
    text = client.get(page(Message), {"q": str(workflow)}).content.decode()
    assert '<span class="nexus-state bad">dead</span>' in text
    assert '<span class="nexus-state waiting">held</span>' in text
    assert Workflow.objects.get().status_reason in client.get(page(Workflow)).content.decode()
