"""The page on which a person starts a workflow."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.fixtures import Settings

from messaging.api import HandlerContext, ReliableCommunicationBus, registry
from messaging.core.envelope import parse_envelope
from messaging.models import Message, Workflow
from tests.support.operators import make_auditor, make_client

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def auditor(settings: Settings) -> None:
    """An agent that programs can send to."""
    make_auditor(settings)


@pytest.fixture
def client() -> Client:
    return make_client()


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
    assert response["Location"] == f"/admin/nexus/workflow/{Workflow.objects.get().pk}/change/"


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
        client.post("/start/", fill_in(client, recipient="here"))
    finally:
        registry.remove("here")
    assert Message.objects.count() == 1
    assert not handled
