"""The views that start workflows and send messages: what they store, whom they refuse, and what garbage becomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.test import Client
from pytest_django.fixtures import Settings

from messaging.api import HandlerContext, ReliableCommunicationBus, registry
from messaging.core.envelope import parse_envelope
from messaging.models import Agent, DeadLetter, Delivery, Mailbox, Message, Workflow
from messaging.sending import directory
from messaging.web import workflows as views
from tests.support.corpora import naughty_strings

pytestmark = pytest.mark.django_db

START = {"name": "Audit 7", "recipient": "auditor", "type": "audit.start", "data": {"files": [1, 2]}}
SEND = {"recipient": "auditor", "type": "audit.file", "data": "a"}
PERMISSIONS = ("add_workflow", "add_message", "view_workflow")


@pytest.fixture(autouse=True)
def auditor(settings: Settings) -> None:
    """An agent that programs can send to."""
    settings.NEXUS = {"BROKER_URL": f"memory://{uuid4()}", "MAX_MESSAGE_BYTES": 4_000}
    directory.forget()
    Agent.objects.create(name="auditor")


def make_client(permissions: Sequence[str] = PERMISSIONS, *, name: str = "program", **options: Any) -> Client:
    """A logged-in client."""
    user = User.objects.create_user(name)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="messaging", codename__in=permissions))
    client = Client(**options)
    client.force_login(user)
    return client


@pytest.fixture
def client() -> Client:
    return make_client()


def post(client: Client, url: str, body: object, **options: Any) -> Any:
    """Post JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body)
    return client.post(url, data=data, content_type="application/json", **options)


def start(client: Client, **changes: Any) -> Any:
    return post(client, "/workflows/", {**START, **changes})


def started(client: Client) -> str:
    """The URL for messages into a new workflow."""
    return f"/workflows/{start(client).json()['workflow']}/messages/"


def detail(response: Any) -> str:
    """The words of an error."""
    assert response["Content-Type"] == "application/json"
    return str(json.loads(response.content)["detail"])


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
    assert Agent.objects.get(name="web").kind == "external"


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


# --- what is refused ---


def test_an_unknown_recipient(client: Client) -> None:
    response = start(client, recipient="nobody")
    assert response.status_code == 422
    assert "'nobody'" in detail(response)
    assert Workflow.objects.count() == 0  # not even the workflow was started


def test_an_unknown_workflow(client: Client) -> None:
    for response in (
        post(client, f"/workflows/{uuid4()}/messages/", SEND),
        client.get(f"/workflows/{uuid4()}/"),
    ):
        assert response.status_code == 404
        assert "There is no workflow" in detail(response)


def test_a_closed_workflow(client: Client) -> None:
    url = started(client)
    ReliableCommunicationBus().cancel_workflow(Workflow.objects.get().pk)
    response = post(client, url, SEND)
    assert response.status_code == 409
    assert "cancelled" in detail(response)


def test_a_workflow_at_its_limit(client: Client) -> None:
    url = started(client)
    Workflow.objects.update(max_messages=1)
    assert post(client, url, SEND).status_code == 409


def test_a_full_mailbox(client: Client, settings: Settings) -> None:
    url = started(client)
    settings.NEXUS = {**settings.NEXUS, "MAX_BACKLOG_PER_MAILBOX": 1}
    response = post(client, url, SEND)
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0


def test_a_message_that_is_too_large(client: Client) -> None:
    response = start(client, data="x" * 4_000)
    assert response.status_code == 413
    assert Workflow.objects.count() == 0


@pytest.mark.parametrize("size", [20_000, 3_000_000])
def test_a_body_that_is_too_large(client: Client, size: int) -> None:
    assert start(client, data="x" * size).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"name": "a"}',
        b"[" * 5_000,
        b'{"name": NaN}',
        json.dumps({**START, "surprise": 1}).encode(),
        json.dumps({**START, "name": 7}).encode(),
        json.dumps({**START, "name": ""}).encode(),
        json.dumps({**START, "name": "  "}).encode(),
        json.dumps({**START, "name": "x" * 201}).encode(),
        json.dumps({**START, "name": "a\x00b"}).encode(),
        json.dumps({**START, "recipient": ""}).encode(),
        json.dumps({**START, "recipient": "a\x00b"}).encode(),
        json.dumps({**START, "recipient": "Robert'); DROP TABLE nexus_agent;--"}).encode(),
        json.dumps({**START, "type": "no type"}).encode(),
        json.dumps({**START, "type": None}).encode(),
        json.dumps({**START, "deduplication_id": ""}).encode(),
        json.dumps({**START, "deduplication_id": "x" * 201}).encode(),
        json.dumps({**START, "data": "\ud800"}).encode(),
        json.dumps(START).encode()[:-1] + b', "name": "twice"}',
    ],
)
def test_malformed_bodies(client: Client, body: bytes) -> None:
    response = post(client, "/workflows/", body)
    assert response.status_code == 400, response.content
    assert detail(response)
    assert Workflow.objects.count() == Message.objects.count() == 0


def test_every_naughty_string_is_stored_or_refused(client: Client) -> None:
    statuses = set()
    for text in naughty_strings():
        statuses.add(start(client, name=text or " ", data=text).status_code)
        assert start(client, recipient=text).status_code in (400, 422)
    assert statuses == {201, 400}
    for message in Message.objects.all():
        parse_envelope(bytes(message.envelope), max_bytes=4_000)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_other_content_types(client: Client, content_type: str) -> None:
    response = client.post("/workflows/", data=json.dumps(START), content_type=content_type)
    assert response.status_code == 415


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch", "options"])
def test_other_methods(client: Client, method: str) -> None:
    response = getattr(client, method)("/workflows/")
    assert response.status_code == 405
    assert response["Allow"] == "POST"


def test_a_workflow_id_that_is_none(client: Client) -> None:
    assert client.get("/workflows/../../etc/passwd/").status_code == 404


def test_a_database_out_of_reach(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise OperationalError("the database is starting up")

    monkeypatch.setattr(views, "start_team", fail)
    response = start(client)
    assert response.status_code == 503
    assert "starting up" not in detail(response)


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_costs_no_time(client: Client, settings: Settings) -> None:
    settings.NEXUS = {"BROKER_URL": "amqp://10.255.255.1:5672//"}  # packets to it vanish
    began = monotonic()
    assert start(client).status_code == 201
    assert monotonic() - began < 2.0
    assert Delivery.objects.get().state == "pending"


# --- the page ---


def fill_in(client: Client, **changes: Any) -> dict[str, Any]:
    """The form as a person would send it."""
    key = client.get("/start/").context["form"]["key"].value()
    return {
        "name": "Audit 7",
        "recipient": "auditor",
        "type": "audit.start",
        "content": '{"files": [1, 2]}',
        "key": str(key),
        **changes,
    }


def test_the_page_starts_a_workflow(client: Client) -> None:
    response = client.post("/start/", fill_in(client), follow=True)
    assert response.status_code == 200
    assert "Audit 7" in response.content.decode()
    assert parse_envelope(bytes(Message.objects.get().envelope), max_bytes=4_000).data == {"files": [1, 2]}


def test_pressing_twice_starts_one(client: Client) -> None:
    form = fill_in(client)
    for _ in range(2):
        client.post("/start/", form)
    assert Workflow.objects.count() == 1


def test_staff_is_led_to_the_workflow() -> None:
    user = User.objects.create_superuser("admin")
    client = Client()
    client.force_login(user)
    response = client.post("/start/", fill_in(client))
    assert response["Location"] == f"/admin/messaging/workflow/{Workflow.objects.get().pk}/change/"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": ""}, "This field is required"),
        ({"content": "{"}, "This is no JSON"),
        ({"content": '"' + "x" * 4_100 + '"'}, "bytes"),
        ({"recipient": "nobody"}, "No agent or group is named"),
        ({"recipient": "<script>"}, "expected 1 to 100 of"),
        ({"type": "no type"}, "expected 1 to 200 of"),
        ({"name": "a\x00b"}, "Null characters are not allowed"),
        ({"key": "x"}, ""),
    ],
)
def test_what_the_page_refuses(client: Client, changes: dict[str, str], words: str) -> None:
    response = client.post("/start/", fill_in(client, **changes))
    assert response.status_code == 400
    text = response.content.decode()
    assert words in text
    assert "<script>alert" not in text
    assert Workflow.objects.count() == 0


def test_the_page_is_for_those_who_may() -> None:
    assert Client().get("/start/")["Location"].startswith("/admin/login/")
    assert make_client([]).get("/start/").status_code == 403


def test_no_handler_runs_in_the_web_process(client: Client) -> None:
    """The view stores and returns; a worker handles."""
    handled: list[object] = []

    def handle(message: object, context: HandlerContext) -> None:
        handled.append(message)

    ReliableCommunicationBus().register_agent("here", handle)
    try:
        start(client, recipient="here")
    finally:
        registry.remove("here")
    assert not handled
