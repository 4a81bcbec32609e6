"""What people see of schemas: the admin page, the command, and who still sends what is deprecated."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from messaging.models import GivenPermission, MessageSchema
from messaging.security.access.permissions import OPERATORS, SECURITY_OFFICERS, VIEWERS
from messaging.security.schemas.current import installed_schemas
from tests.support.lab import Lab

PAGE = "admin:nexus_messageschema_changelist"


@pytest.fixture
def deprecated(lab: Lab) -> None:
    """A deprecated version by which "web" sent two messages."""
    document = {"title": "A test", "type": "object", "properties": {"n": {"type": "integer"}}}
    MessageSchema.objects.create(type="test.message", version=1, document=document, deprecated=True)
    installed_schemas.forget_stored()
    lab.agent("a")
    workflow = lab.workflow()
    lab.send(workflow, "a", {"n": 1})
    lab.send(workflow, "a", {"n": 2})
    MessageSchema.objects.create(type="test.message", version=2, document=document)
    installed_schemas.forget_stored()
    lab.send(workflow, "a", {"n": 3})


def listed() -> str:
    output = StringIO()
    call_command("nexus_schemas", "list", stdout=output)
    return output.getvalue()


@pytest.mark.usefixtures("deprecated")
def test_the_command_names_who_still_sends_by_a_deprecated_schema() -> None:
    assert "test.message:1   A test  deprecated, sent by web (2)" in listed()
    output = StringIO()
    call_command("nexus_schemas", "list", "--json", stdout=output)
    rows = {(row["type"], row["version"]): row for row in json.loads(output.getvalue())}
    assert rows["test.message", 1]["deprecated_senders"] == {"web": 2}
    assert rows["test.message", 2]["deprecated_senders"] == {}


@pytest.mark.usefixtures("deprecated")
def test_the_page_lists_every_schema_and_shows_one() -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    text = client.get(reverse(PAGE)).content.decode()
    assert "web (2)" in text
    assert "chat.said" in text  # from a file
    assert "(newest)" in text
    one = client.get(reverse(PAGE), {"schema": "test.message:1"}).content.decode()
    assert "integer" in one
    assert client.get(reverse(PAGE), {"schema": "<script>"}).status_code == 200
    pk = MessageSchema.objects.first().pk  # type: ignore[union-attr]  # the fixture made it
    assert client.get(reverse("admin:nexus_messageschema_change", args=[pk])).status_code == 200


@pytest.mark.django_db
def test_only_those_who_may_view_see_the_page() -> None:
    client = Client()
    client.force_login(User.objects.create_user("eve", is_staff=True))
    assert client.get(reverse(PAGE)).status_code == 403


@pytest.mark.django_db
def test_migrating_makes_the_groups() -> None:
    Group.objects.all().delete()
    GivenPermission.objects.all().delete()
    call_command("migrate", verbosity=0)
    assert set(Group.objects.values_list("name", flat=True)) == {VIEWERS, OPERATORS, SECURITY_OFFICERS}
