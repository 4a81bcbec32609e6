"""The policy in the admin: every change is checked, audited and permitted."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from messaging.models import AccessChange, AccessEpoch, AccessGrant, AccessRole, AccessTeam, Workflow
from messaging.security.access import store
from messaging.security.access.permissions import OPERATORS, SECURITY_OFFICERS, VIEWERS, create_groups
from messaging.security.access.policy import Grant, Policy, Role
from tests.support.operators import act, page, said, superuser

POLICY = Policy(
    roles=(Role(name="clerk", agents=("anna",), inherits=("reader",)), Role(name="reader")),
    grants=(Grant(name="few", sender="role:clerk", uses=5),),
)


@pytest.fixture
def client(db: None) -> Client:
    return superuser()


def role_form(name: str = "", **more: Any) -> dict[str, Any]:
    empty = {"members-TOTAL_FORMS": "1", "members-INITIAL_FORMS": "0", "members-0-agent": "", "note": ""}
    return {**empty, "name": name, **more}


def grant_form(**more: Any) -> dict[str, Any]:
    fields = {"name": "g", "effect": "allow", "sender": "*", "recipient": "*", "type": "*", "note": ""}
    return {**fields, "uses": "", "initial-uses": "", **more}


def officer(group: str, name: str) -> Client:
    create_groups()
    user = User.objects.create_user(name, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


def test_a_role_is_added_and_audited(client: Client) -> None:
    client.post(page(AccessRole, "add"), role_form("clerk", **{"members-0-agent": "desk-*"}), follow=True)
    assert store.load_policy().roles == (Role(name="clerk", agents=("desk-*",)),)
    change = AccessChange.objects.get()
    assert (change.who, change.epoch, change.name, change.before) == ("admin", 1, "clerk", None)
    text = client.get(page(AccessChange, "change", change.pk)).content.decode()
    assert "desk-*" in text


@pytest.mark.parametrize(
    ("model", "form", "words"),
    [
        (AccessRole, role_form("Clerk"), "cannot be a name"),
        (AccessRole, role_form("a", **{"members-0-agent": "A b"}), "matches no name"),
        (AccessTeam, role_form("Red"), "cannot be a name"),
        (AccessGrant, grant_form(sender="role:ghost"), "no role is named &#x27;ghost&#x27;"),
        (AccessGrant, grant_form(type="**"), "two stars"),
    ],
)
def test_what_cannot_work_changes_nothing(client: Client, model: Any, form: dict[str, Any], words: str) -> None:
    response = client.post(page(model, "add"), form, follow=True)
    assert words in response.content.decode()
    assert "Nothing was changed" in said(response)
    assert "Added" not in said(response)
    assert store.load_policy() == Policy()
    assert not AccessChange.objects.exists()


def test_a_circle_of_roles_is_refused(client: Client) -> None:
    store.save_policy(POLICY, "anna")
    form = role_form(inherits=["clerk"])
    response = client.post(page(AccessRole, "change", "reader"), form, follow=True)
    assert "in a circle: clerk → reader → clerk" in said(response)
    assert store.load_policy() == POLICY


def test_uses_that_were_counted_meanwhile_stay_counted(client: Client) -> None:
    store.save_policy(POLICY, "anna")
    grant = AccessGrant.objects.get()
    AccessGrant.objects.update(uses=2)  # while the page was open
    form = grant_form(name="few", sender="role:clerk", note="x", uses="5", **{"initial-uses": "5"})
    client.post(page(AccessGrant, "change", grant.pk), form, follow=True)
    assert (AccessGrant.objects.get().uses, AccessGrant.objects.get().note) == (2, "x")
    client.post(page(AccessGrant, "change", grant.pk), {**form, "uses": "9"}, follow=True)
    assert AccessGrant.objects.get().uses == 9


def test_rows_are_deleted_one_by_one_and_together(client: Client) -> None:
    store.save_policy(POLICY, "anna")
    response = act(client, AccessRole, "delete_selected", "clerk", post="yes")
    assert "no role is named 'clerk'" in said(response), "a grant names it"
    client.post(page(AccessGrant, "delete", AccessGrant.objects.get().pk), {"post": "yes"}, follow=True)
    act(client, AccessRole, "delete_selected", "clerk", post="yes")
    assert store.load_policy().roles == (Role(name="reader"),)
    assert [str(one) for one in AccessChange.objects.order_by("-pk")[:2]] == [
        "#3 role clerk: removed by admin",
        "#2 grant few: removed by admin",
    ]


def test_the_defaults_are_one_row(client: Client) -> None:
    form = {"inside_team": "allow", "across_teams": "deny", "without_team": "deny"}
    client.post(page(AccessEpoch, "add"), form, follow=True)
    assert store.load_policy().defaults.without_team == "deny"
    assert client.get(page(AccessEpoch, "add")).status_code == 403
    client.post(page(AccessEpoch, "change", 1), {**form, "without_team": "allow"}, follow=True)
    assert store.load_policy().defaults.without_team == "allow"
    assert AccessEpoch.objects.get().number == 2


def test_every_page_can_be_looked_at(client: Client) -> None:
    store.save_policy(POLICY, "anna")
    for model in (AccessRole, AccessTeam, AccessGrant, AccessEpoch, AccessChange):
        assert client.get(page(model)).status_code == 200
        for row in model._default_manager.all():
            assert client.get(page(model, "change", row.pk)).status_code == 200
    change = AccessChange.objects.latest("pk")
    assert client.post(page(AccessChange, "change", change.pk), {"who": "x"}).status_code == 403
    assert client.post(page(AccessChange, "delete", change.pk), {"post": "yes"}).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("group", "sees", "operates", "protects"),
    [(VIEWERS, 200, False, 403), (OPERATORS, 200, True, 403), (SECURITY_OFFICERS, 200, False, 200)],
)
def test_groups_of_people(group: str, sees: int, operates: bool, protects: int) -> None:
    client = officer(group, "zoe")
    for model in (AccessRole, AccessGrant, AccessChange, Workflow):
        assert client.get(page(model)).status_code == sees
    assert client.get(page(AccessRole, "add")).status_code == protects
    assert client.get(page(AccessGrant, "add")).status_code == protects
    assert client.get(page(AccessChange, "add")).status_code == 403
    user = User.objects.get(username="zoe")
    assert user.has_perm("nexus.change_workflow") == operates
    create_groups()
    assert Group.objects.count() == 3
