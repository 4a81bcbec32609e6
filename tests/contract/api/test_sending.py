"""Starting and sending: what is stored, once, and what is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from threading import Event
from typing import Any, NoReturn
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from messaging import operating as sending
from messaging.api import ReliableCommunicationBus
from messaging.brokers.rabbitmq.connector import Connector
from messaging.core.envelope import parse_envelope
from messaging.core.errors import BrokerUnavailable
from messaging.models import Agent, Delivery, Message, Workflow
from nexus_api import idempotency
from nexus_api.endpoints import messages as message_endpoints
from nexus_api.models import IdempotentRequest
from tests.support.api import ApiCaller, problem
from tests.support.corpora import naughty_strings
from tests.support.operators import make_client, post

MESSAGE = {"recipient": "auditor", "type": "audit.start", "data": {"files": [1, 2]}}
START = {"name": "Audit 7", "message": MESSAGE}


def started(program: ApiCaller) -> str:
    """The path of a new workflow."""
    return f"/workflows/{program.post('/workflows', START).json()['workflow']}"


def test_a_workflow_with_its_first_message(program: ApiCaller) -> None:
    response = program.post("/workflows", START)
    assert response.status_code == 201
    message = Message.objects.get()
    assert response.json() == {"workflow": str(message.workflow_id), "message": str(message.pk), "sequence": 1}
    envelope = parse_envelope(bytes(message.envelope), max_bytes=4_000)
    assert (envelope.source, envelope.subject, envelope.data) == ("web", "auditor", MESSAGE["data"])
    assert Agent.objects.get(name="web").kind is None


def test_an_empty_workflow_and_messages_into_it(program: ApiCaller) -> None:
    workflow = program.post("/workflows", {"name": "w", "max_messages": 2, "deadline": 60}).json()["workflow"]
    path = f"/workflows/{workflow}/messages"
    assert [program.post(path, MESSAGE).json()["sequence"] for _ in range(2)] == [1, 2]
    problem(program.post(path, MESSAGE), 409, "workflow-limit")
    first = program.get(f"{path}?limit=1").json()
    second = program.get(f"{path}?limit=1&after={first['next']}").json()
    assert [page["items"][0]["sequence"] for page in (first, second)] == [1, 2]
    assert first["items"][0]["data"] == MESSAGE["data"]
    assert second["next"] is None


# --- once only ---


def test_a_repeat_is_the_first_one(program: ApiCaller) -> None:
    first, second = (program.post("/workflows", START, Idempotency_Key="k 1") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert Workflow.objects.count() == Message.objects.count() == 1
    path = started(program) + "/messages"
    receipts = [program.post(path, MESSAGE, Idempotency_Key="k 2").json() for _ in range(2)]
    assert receipts[0] == receipts[1]


def test_a_key_belongs_to_one_request_of_one_caller(program: ApiCaller) -> None:
    program.post("/workflows", START, Idempotency_Key="k")
    problem(program.post("/workflows", {**START, "name": "other"}, Idempotency_Key="k"), 422, "key-reused")
    assert Message.objects.count() == 1
    assert ApiCaller("another").post("/workflows", START, Idempotency_Key="k").status_code == 201
    assert Message.objects.count() == 2


def test_the_same_request_in_flight(program: ApiCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    path = started(program) + "/messages"
    inside: list[Any] = []
    send = sending.send_message

    def meanwhile(*args: Any, **options: Any) -> Any:
        if not inside:
            inside.append(None)
            inside[0] = program.post(path, MESSAGE, Idempotency_Key="k")
        return send(*args, **options)

    monkeypatch.setattr(message_endpoints, "send_message", meanwhile)
    assert program.post(path, MESSAGE, Idempotency_Key="k").status_code == 201
    problem(inside[0], 409, "in-flight")
    assert int(inside[0]["Retry-After"]) >= 1
    assert Message.objects.count() == 2


def test_who_lost_its_claim_stores_nothing(program: ApiCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process slept past its claim; a repeat took it over and is done when the first one wakes."""
    path = started(program) + "/messages"
    inside: list[Any] = []
    claim = idempotency._claim

    def sleep(*args: Any) -> Any:
        claimed = claim(*args)
        if not inside:
            inside.append(None)
            IdempotentRequest.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
            inside[0] = program.post(path, MESSAGE, Idempotency_Key="k")
        return claimed

    monkeypatch.setattr(idempotency, "_claim", sleep)
    late = program.post(path, MESSAGE, Idempotency_Key="k")
    assert inside[0].status_code == 201
    problem(late, 409, "in-flight")
    assert Message.objects.count() == 2
    assert program.post(path, MESSAGE, Idempotency_Key="k").json() == inside[0].json()


def test_what_was_refused_may_be_tried_again(program: ApiCaller) -> None:
    body = {"name": "n", "message": {**MESSAGE, "recipient": "later"}}
    problem(program.post("/workflows", body, Idempotency_Key="k"), 422, "unknown-agent")
    assert Workflow.objects.count() == IdempotentRequest.objects.count() == 0
    ReliableCommunicationBus().register_agent("later")
    assert program.post("/workflows", body, Idempotency_Key="k").status_code == 201


def test_answers_are_kept_for_a_while(program: ApiCaller) -> None:
    program.post("/workflows", START, Idempotency_Key="k")
    past = timezone.now() - timedelta(seconds=1)
    assert idempotency.forget_expired() == 0
    IdempotentRequest.objects.update(expires_at=past, claimed_until=past)
    assert program.post("/workflows", {"name": "another"}, Idempotency_Key="k").status_code == 201
    IdempotentRequest.objects.update(expires_at=past, claimed_until=past)
    assert idempotency.forget_expired() == 1


@pytest.mark.parametrize("key", ["", "x" * 151, "\x07", "ü"])
def test_malformed_keys(program: ApiCaller, key: str) -> None:
    problem(program.post("/workflows", START, Idempotency_Key=key), 400, "malformed-key")


# --- refused ---

MALFORMED = [
    b"{",
    b"\xff\xfe",
    b"[" * 5_000,
    b'{"name": NaN}',
    b'{"name": "a", "name": "twice"}',
    b'{"name": "\\ud800"}',
]
IMPOSSIBLE: list[Any] = [
    [],
    None,
    {},
    {"name": 7},
    {"name": ""},
    {"name": "  "},
    {"name": "x" * 201},
    {"name": "a\x00b"},
    {"name": "n", "surprise": 1},
    {"name": "n", "task": "without a team"},
    {"name": "n", "team": "no such team", "task": "t"},
    {"name": "n", "team": {"name": "t"}, "task": "t"},
    {"name": "n", "team": "a\x00b", "task": "t"},
    {"name": "n", "max_messages": 0},
    {"name": "n", "deadline": True},
    {"name": "n", "message": {**MESSAGE, "recipient": "nobody"}},
    {"name": "n", "message": {**MESSAGE, "recipient": "a\x00b"}},
    {"name": "n", "message": {**MESSAGE, "type": "no type"}},
]


def test_malformed_bodies(program: ApiCaller) -> None:
    for body in MALFORMED:
        problem(program.post("/workflows", body), 400, "malformed-body")
    for value in IMPOSSIBLE:
        response = program.post("/workflows", json.dumps(value).encode())
        assert response.status_code == 422, (value, response.content)
        assert response["Content-Type"] == "application/problem+json"
    assert Workflow.objects.count() == Message.objects.count() == 0


def test_every_naughty_string_is_stored_or_refused(program: ApiCaller) -> None:
    program.token.rate = 1_000_000
    program.token.save()
    statuses = set()
    for text in list(naughty_strings())[::12]:  # all of them pass the bus's own tests
        body = {"name": text or " ", "message": {**MESSAGE, "data": text}}
        statuses.add(program.post("/workflows", body).status_code)
        assert program.post("/workflows", {"name": "n", "message": {**MESSAGE, "recipient": text}}).status_code == 422
    assert statuses == {201, 422}


def test_bodies_that_are_too_large(program: ApiCaller) -> None:
    for size, code in ((4_000, "envelope-too-large"), (20_000, "body-too-large"), (3_000_000, "body-too-large")):
        body = {"name": "n", "message": {**MESSAGE, "data": "x" * size}}
        problem(program.post("/workflows", body), 413, code)


def test_bodies_in_pieces(program: ApiCaller) -> None:
    headers = {"Authorization": f"Bearer {program.secret}", "Transfer-Encoding": "chunked"}
    response = program.client.post("/api/workflows", data=b"{}", content_type="application/json", headers=headers)
    problem(response, 411, "length-required")


def test_other_content_types(program: ApiCaller) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        headers = {"Authorization": f"Bearer {program.secret}"}
        response = program.client.post("/api/workflows", data=b"{}", content_type=content_type, headers=headers)
        problem(response, 415, "not-json")


def test_other_methods_and_places(program: ApiCaller) -> None:
    headers = {"Authorization": f"Bearer {program.secret}"}
    response = program.client.delete("/api/workflows", headers=headers)
    problem(response, 405, "method-not-allowed")
    assert set(response["Allow"].split(", ")) == {"GET", "POST"}
    for path in ("/nothing", "/workflows/", "/workflows/7", "/workflows/../../etc/passwd", "/"):
        problem(program.get(path), 404, "not-found")


def test_closed_and_full(program: ApiCaller, settings: Settings) -> None:
    path = started(program)
    settings.NEXUS = {**settings.NEXUS, "MAX_BACKLOG_PER_MAILBOX": 1}
    full = program.post(f"{path}/messages", MESSAGE)
    problem(full, 429, "mailbox-full")
    assert int(full["Retry-After"]) > 0
    ReliableCommunicationBus().cancel_workflow(Workflow.objects.get().pk)
    assert "cancelled" in problem(program.post(f"{path}/messages", MESSAGE), 409, "workflow-closed")
    problem(program.post(f"/workflows/{uuid4()}/messages", MESSAGE), 404, "unknown-workflow")


def test_defects_and_lost_databases_are_problems_too(program: ApiCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    path = started(program) + "/messages"
    for error, status, code in (
        (OperationalError("secret words"), 503, "database-unavailable"),
        (RuntimeError("secret words"), 500, "internal-error"),
    ):

        def fail(*args: Any, error: Exception = error, **options: Any) -> None:
            raise error

        monkeypatch.setattr(message_endpoints, "send_message", fail)
        assert "secret" not in problem(program.post(path, MESSAGE), status, code)


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_is_down_costs_no_time(
    settings: Settings, program: ApiCaller, nexus_publishing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NEXUS = {"BROKER_URL": "amqp://127.0.0.1:1//"}
    answered, tried, came_too_late = Event(), Event(), Event()

    def connect(*args: Any, **options: Any) -> NoReturn:
        """Take until the request is answered: whoever waits for this in the request waits in vain."""
        tried.set()
        if not answered.wait(60):
            came_too_late.set()
        raise BrokerUnavailable("down")

    monkeypatch.setattr(Connector, "open", connect)
    assert program.post("/workflows", START).status_code == 201
    answered.set()
    assert tried.wait(60)
    assert not came_too_late.is_set()
    assert Delivery.objects.get().state == "pending"


# --- sessions ---


def test_a_session_needs_permissions_and_the_csrf_token() -> None:
    assert problem(post(Client(), "/api/workflows", START), 401, "not-authenticated")
    for number, permissions in enumerate(([], ["add_workflow"], ["add_message"])):
        caller = make_client(permissions, name=f"user {number}")
        assert "lacks the permission" in problem(post(caller, "/api/workflows", START), 403, "missing-permission")
    client = make_client(enforce_csrf_checks=True)
    problem(post(client, "/api/workflows", START), 403, "csrf")
    client.get("/admin/login/")
    token = client.cookies["csrftoken"].value
    response = post(client, "/api/workflows", START, headers={"X-CSRFToken": token})
    assert response.status_code == 201
    assert client.get(f"/api/workflows/{UUID(response.json()['workflow'])}").status_code == 200
    assert Workflow.objects.count() == 1
