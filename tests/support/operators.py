"""What tests of the operators' side share: logged-in clients, requests, and a workflow that needs an operator."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import Permission, User
from django.db import models
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from messaging.api import HandlerContext, TerminalError
from messaging.directory import names as directory
from messaging.models import (
    Agent,
    Workflow,
)
from tests.support.lab import Lab

EVIL = "<script>alert(1)</script>"
PERMISSIONS = ("add_workflow", "add_message", "view_workflow")


def superuser() -> Client:
    """A client logged in as one who may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


def broken_workflow(lab: Lab) -> UUID:
    """A parked workflow: its agent, repaired since, refused the first message, and the second one waits."""

    def refuse(message: object, context: HandlerContext) -> None:
        raise TerminalError(EVIL)

    lab.agent("auditor", refuse)
    workflow = lab.bus.start_workflow(f"Audit {EVIL}")
    for text in (EVIL, "second"):
        lab.send(workflow, "auditor", {"text": text})
    lab.publish()
    lab.work(2)
    assert Workflow.objects.get().status == "parked"
    lab.agent("auditor")
    return workflow


def make_auditor(settings: Settings) -> None:
    """Configure a broker in memory, and an agent that programs can send to."""
    settings.NEXUS = {"BROKER_URL": f"memory://{uuid4()}", "MAX_MESSAGE_BYTES": 4_000}
    directory.forget()
    Agent.objects.create(name="auditor")


def make_client(
    permissions: Sequence[str] = PERMISSIONS, *, name: str = "program", staff: bool = False, **options: Any
) -> Client:
    """A logged-in client."""
    user = User.objects.create_user(name, is_staff=staff)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label__startswith="nexus", codename__in=permissions)
    )
    client = Client(**options)
    client.force_login(user)
    return client


def page(model: type[models.Model], name: str = "changelist", *args: object) -> str:
    """The URL of one of a model's pages."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def act(client: Client, model: type[models.Model], action: str, *keys: object, **more: str) -> Any:
    """Run an action on rows, as the list's form does."""
    data = {"action": action, "index": "0", "_selected_action": [str(key) for key in keys], **more}
    return client.post(page(model), data, follow=True)


def said(response: Any) -> str:
    """The messages on a page."""
    return " | ".join(str(message) for message in response.context["messages"])


def post(client: Client, url: str, body: object, **options: Any) -> Any:
    """Post JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body)
    return client.post(url, data=data, content_type="application/json", **options)
