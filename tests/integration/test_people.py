"""Who may do what in the admin: a viewer changes nothing, an operator no keys, rules or access, nobody the audit."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import models
from django.test import Client
from django.urls import reverse

from messaging.admin.operating import OperatedAdmin
from messaging.models import (
    AccessGrant,
    AccessRole,
    BulkRun,
    DeadLetter,
    DeadLetterNote,
    OperatorAct,
    RuleSet,
    Workflow,
)
from messaging.operators.audit import audit
from messaging.operators.rule_sets import store
from messaging.security.access.permissions import OPERATORS, SECURITY_OFFICERS, VIEWERS, create_groups
from messaging.security.access.store import change
from tests.integration.test_commands import run
from tests.support.lab import Lab
from tests.support.operators import EVIL, act, broken_workflow, page, said

PROTECTED = {
    "accessepoch",
    "accessgrant",
    "accessrole",
    "accessteam",
    "foreignsender",
    "ruleset",
}
"""Tables whose rows are keys, rules or access."""
WORKED = {"agentgroup"}
"""Tables whose rows operators add and delete by hand."""


def member(group: str) -> Client:
    create_groups()
    user = User.objects.create_user(group.replace(" ", "-"), is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def pages() -> list[type[models.Model]]:
    labels = ("nexus", "nexus_agents")
    found = [model for label in labels for model in apps.get_app_config(label).get_models()]
    return [model for model in found if admin.site.is_registered(model)]


def everything() -> dict[str, list[Any]]:
    """Every row of every table of ours."""
    labels = ("nexus", "nexus_agents")
    found = [model for label in labels for model in apps.get_app_config(label).get_models()]
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in found}


@pytest.fixture
def broken(lab: Lab) -> UUID:
    """A parked workflow with a dead letter, a policy and rules."""
    with change("root"):
        AccessRole.objects.create(name="clerks")
        AccessGrant.objects.create(name="all")
    store("rules: {secrets: {}}", user="root")
    return broken_workflow(lab)


@pytest.mark.parametrize("group", [VIEWERS, OPERATORS, SECURITY_OFFICERS])
def test_every_page_for_every_group(broken: UUID, group: str) -> None:
    client = member(group)
    before = everything()
    for model in pages():
        name = str(model._meta.model_name)
        assert client.get(page(model)).status_code == 200, model
        may = {SECURITY_OFFICERS: PROTECTED, OPERATORS: WORKED}.get(group, set())
        adding = client.get(page(model, "add")).status_code
        assert (adding == 200) == (name in may and name != "accessepoch") or name == "team", (name, adding)
        for row in model._default_manager.all()[:2]:
            assert client.get(page(model, "change", row.pk)).status_code == 200, row
            deleting = client.get(page(model, "delete", row.pk)).status_code
            allowed = name in may and name not in ("accessepoch", "foreignsender", "ruleset")
            assert (deleting == 200) == allowed, (name, deleting)
            if name not in may:
                assert client.post(page(model, "change", row.pk), {"_save": "Save"}).status_code in (302, 403), row
    letter = DeadLetter.objects.get()
    operates = group == OPERATORS
    assert client.get(reverse("admin:nexus_deadletter_groups")).status_code == 200
    assert client.get(reverse("admin:nexus_deadletter_bulk")).status_code == (200 if operates else 403)
    edit = client.get(reverse("admin:nexus_deadletter_edit", args=[letter.pk])).status_code
    assert edit == (302 if operates else 403), "switched off for those who may"
    assert everything() == before, "looking changes nothing"


@pytest.mark.parametrize("group", [VIEWERS, SECURITY_OFFICERS])
def test_who_does_not_operate_changes_nothing(broken: UUID, group: str) -> None:
    client = member(group)
    letter = DeadLetter.objects.get()
    before = everything()
    for model in pages():
        page_admin = admin.site._registry[model]
        if not isinstance(page_admin, OperatedAdmin) or str(model._meta.model_name) in ("foreignsender", "verdict"):
            continue
        for action in page_admin.actions or ():
            for row in model._default_manager.all()[:2]:
                act(client, model, str(action), row.pk, confirmed="1", reason="because", from_page="1")
    form = {"action": "discard", "everything": "on", "rate": "50", "reason": "because", "begin": "1"}
    assert client.post(reverse("admin:nexus_deadletter_bulk"), form).status_code == 403
    note = client.post(reverse("admin:nexus_deadletter_groups"), {"like": str(letter.pk), "note": "mine"})
    assert note.status_code == 403
    edit = {"content": "{}", "reason": "because"}
    assert client.post(reverse("admin:nexus_deadletter_edit", args=[letter.pk]), edit).status_code == 403
    assert everything() == before


def test_what_somebody_changed_of_the_groups_stays(db: None) -> None:
    create_groups()
    operators = Group.objects.get(name=OPERATORS)
    taken = Permission.objects.get(codename="edit_deadletter")
    given = Permission.objects.get(codename="add_user")
    operators.permissions.remove(taken)
    operators.permissions.add(given)
    Group.objects.get(name=VIEWERS).delete()
    call_command("migrate", verbosity=0)
    assert taken not in operators.permissions.all()
    assert given in operators.permissions.all()
    assert not Group.objects.filter(name=VIEWERS).exists()
    assert run("nexus_groups", "--restore")[0] == 0
    assert taken in operators.permissions.all()
    assert Group.objects.get(name=VIEWERS).permissions.exists()


def test_an_operator_works_through_a_group_of_dead_letters(broken: UUID, settings: Any) -> None:
    """Note, edit and replay, bulk with a dry run; and all of it stands in the audit, with what the shell did."""
    settings.NEXUS = {**settings.NEXUS, "EDIT_AND_REPLAY": "on"}
    client = member(OPERATORS)
    letter = DeadLetter.objects.get()
    groups = reverse("admin:nexus_deadletter_groups")
    client.post(groups, {"like": str(letter.pk), "note": f"ask the bank {EVIL}"})
    text = client.get(groups).content.decode()
    assert "ask the bank" in text
    assert EVIL not in text
    assert f"like={letter.pk}" in text
    bulk_page = reverse("admin:nexus_deadletter_bulk")
    form = {"action": "replay", "like": str(letter.pk), "rate": "50", "reason": "the bank is back"}
    looked = client.post(bulk_page, {**form, "look": "1"}).content.decode()
    assert "1 open dead letter:" in looked
    assert not BulkRun.objects.exists()
    assert "Say which ones" in client.post(bulk_page, {**form, "like": "", "look": "1"}).content.decode()
    edit = reverse("admin:nexus_deadletter_edit", args=[letter.pk])
    assert "is not JSON" in client.post(edit, {"content": "{,}", "reason": "typo"}).content.decode()
    told = client.post(edit, {"content": '{"text": "better"}', "reason": "typo"}, follow=True)
    assert "takes the place of the one that died" in said(told)
    letter.refresh_from_db()
    assert letter.status == "replaced"
    own = client.get(page(DeadLetter, "change", letter.pk)).content.decode()
    assert "edit and replay" in own
    assert run("nexus_workflows", "pause", broken, "--reason", "tea")[0] == 0
    client.post(page(Workflow), {"action": "resume", "index": "0", "_selected_action": str(broken)})
    lines = [(one.action, one.kind, one.entrance) for one in audit()]
    assert lines[:4] == [
        ("resume", "workflow", "admin"),
        ("pause", "workflow", "shell"),
        ("edit and replay", "deadletter", "admin"),
        ("note", "deadletternote", "admin"),
    ]
    assert {("add", "access role", ""), ("load", "rules", "")} <= set(lines)
    assert DeadLetterNote.objects.get().who == "Nexus-operators"
    pause = OperatorAct.objects.get(action="pause")
    assert (pause.reason, pause.before, pause.after) == (
        "tea",
        {"status": "running", "status_reason": ""},
        {"status": "paused", "status_reason": pause.after["status_reason"]},  # type: ignore[index]
    )
    shown = client.get(page(OperatorAct)).content.decode()
    assert "running → paused" in shown
    assert RuleSet.objects.exists()
    only = client.get(page(OperatorAct), {"who": "Nexus-operators", "before": "2999-01-01T00:00:00+00:00"})
    assert "<td>resume</td>" in only.content.decode()
    assert "<td>pause</td>" not in only.content.decode()
