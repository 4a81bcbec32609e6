"""The views that start workflows and send messages: what they store, once, and for whom."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from messaging.core.envelope import parse_envelope
from messaging.models import Agent, DeadLetter, Delivery, Mailbox, Message, Workflow
from tests.support.operators import SEND, START, detail, make_auditor, make_client, post, start, started

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def auditor(settings: Settings) -> None:
    """An agent that programs can send to."""
    make_auditor(settings)


@pytest.fixture
def client() -> Client:
    return make_client()


# --- what is stored ---


def test_starting_a_workflow(client: Client) -> None:
    response = start(client)
    assert response.status_code == 201
    message = Message.objects.get()
    assert response.json() == {"workflow": str(message.workflow_id), "message": str(message.pk), "sequence": 1}
    assert Workflow.objects.get().name == "Audit 7"
    envelope = parse_envelope(bytes(message.envelope), max_bytes=4_000)
    assert (envelope.source, envelope.subject, envelope.type) == ("web", "auditor", "audit.start")
    assert envelope.data == START["data"]
    assert Delivery.objects.get().agent == "auditor"


def test_sending_into_a_workflow(client: Client) -> None:
    url = started(client)
    assert [post(client, url, SEND).json()["sequence"] for _ in range(2)] == [2, 3]
    assert Message.objects.count() == 3


def test_agents_can_reply_to_what_came_from_the_web(client: Client) -> None:
    start(client)
    assert Agent.objects.get(name="web").kind is None


def test_status(client: Client) -> None:
    workflow = start(client).json()["workflow"]
    Mailbox.objects.update(processed=1)
    DeadLetter.objects.create(workflow_id=workflow, reason="handler_error", body=b"")
    report = client.get(f"/workflows/{workflow}/").json()
    assert report["workflow"] == workflow
    assert (report["name"], report["status"], report["sequence"]) == ("Audit 7", "running", 1)
    assert report["mailboxes"] == [{"agent": "auditor", "sent": 1, "processed": 1}]
    assert report["open_dead_letters"] == 1


# --- once only ---


def test_a_repeated_start_is_the_first_one(client: Client) -> None:
    first, second = (post(client, "/workflows/", START, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert Workflow.objects.count() == Message.objects.count() == 1


def test_a_repeated_message_is_the_first_one(client: Client) -> None:
    url = started(client)
    body = {**SEND, "deduplication_id": "order 17"}
    first, second = (post(client, url, body) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert Message.objects.get(pk=first.json()["message"]).deduplication_id == "order 17"


@pytest.mark.parametrize("changes", [{"data": 1}, {"type": "other"}, {"name": "Audit 8"}])
def test_a_key_belongs_to_one_request(client: Client, changes: dict[str, object]) -> None:
    key = {"Idempotency-Key": "k1"}
    post(client, "/workflows/", START, headers=key)
    response = post(client, "/workflows/", {**START, **changes}, headers=key)
    assert response.status_code == 409
    assert "Use a new one" in detail(response)
    assert Message.objects.count() == 1


def test_users_do_not_meet_each_others_keys(client: Client) -> None:
    other = make_client(name="other")
    made = {
        post(who, "/workflows/", START, headers={"Idempotency-Key": "1"}).json()["workflow"] for who in (client, other)
    }
    assert len(made) == 2


@pytest.mark.parametrize("key", ["", "x" * 151, "\x07", "ü"])
def test_malformed_keys(client: Client, key: str) -> None:
    response = post(client, "/workflows/", START, headers={"Idempotency-Key": key})
    assert response.status_code == 400


def test_a_key_and_an_id_are_one_too_many(client: Client) -> None:
    response = post(client, "/workflows/", {**START, "deduplication_id": "a"}, headers={"Idempotency-Key": "b"})
    assert response.status_code == 400


# --- who may ---


@pytest.mark.parametrize(
    ("method", "url"),
    [("post", "/workflows/"), ("post", f"/workflows/{UUID(int=1)}/messages/"), ("get", f"/workflows/{UUID(int=1)}/")],
)
def test_only_those_who_may(method: str, url: str) -> None:
    for caller, words in ((Client(), "Log in"), (make_client([]), "lacks the permission")):
        response = caller.get(url) if method == "get" else post(caller, url, START)
        assert response.status_code == 403
        assert words in detail(response)
    assert Workflow.objects.count() == 0


def test_starting_takes_both_permissions() -> None:
    assert start(make_client(["add_workflow"], name="a")).status_code == 403
    assert start(make_client(["add_message"], name="b")).status_code == 403


def test_a_request_from_another_site_is_refused() -> None:
    client = make_client(enforce_csrf_checks=True)
    assert start(client).status_code == 403
    client.get("/admin/login/")
    token = client.cookies["csrftoken"].value
    assert post(client, "/workflows/", START, headers={"X-CSRFToken": token}).status_code == 201
