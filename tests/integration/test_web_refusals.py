"""What the views refuse: every kind of garbage has its status, and stores nothing."""

from __future__ import annotations

import json
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError
from django.test import Client
from pytest_django.fixtures import Settings

from messaging.api import ReliableCommunicationBus
from messaging.core.envelope import parse_envelope
from messaging.models import Delivery, Message, Workflow
from messaging.web import workflows as views
from tests.support.corpora import naughty_strings
from tests.support.operators import SEND, START, detail, make_auditor, make_client, post, start, started

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def auditor(settings: Settings) -> None:
    """An agent that programs can send to."""
    make_auditor(settings)


@pytest.fixture
def client() -> Client:
    return make_client()


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
