"""What the admin's forms say when they were saved: what happened and when it counts, for every form of ours."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models
from django.test import Client, RequestFactory

from agents.models import Approval, Team
from messaging.admin.index import is_ours
from messaging.models import AccessEpoch, AccessGrant, AccessRole, AccessTeam, Agent, AgentGroup, ForeignSender, RuleSet
from messaging.operators.telling import TellingAdmin
from nexus_api.models import ApiToken
from tests.support.operators import page, said, superuser

NO_ROWS = {"TOTAL_FORMS": "0", "INITIAL_FORMS": "0"}
MEMBERS = {f"members-{name}": value for name, value in NO_ROWS.items()}
KEY = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
TEAM = "name: writers\nmembers: [ann, bob]\n"
ADDED: dict[type[models.Model], dict[str, Any]] = {
    AgentGroup: {"name": "board", **MEMBERS},
    AccessRole: {"name": "clerks", **MEMBERS},
    AccessTeam: {"name": "north", **MEMBERS},
    AccessGrant: {"name": "in", "effect": "allow", "sender": "a", "recipient": "b", "type": "*"},
    AccessEpoch: {"inside_team": "allow", "across_teams": "deny", "without_team": "deny", "number": "0"},
    RuleSet: {"text": "rules: {}\n"},
    ForeignSender: {"name": "erp", "public_key": KEY, "agents": "erp", "rate": "10"},
    Team: {"name": "writers", "definition": TEAM},
    ApiToken: {"name": "ci", "scopes": ["messages:read"], "visibility": "own", "days": "10"},
}
"""What is written into each form for a new row."""


@pytest.fixture
def client(db: None) -> Client:
    """Logged in as one who may do everything."""
    return superuser()


def filled(client: Client, model: type[models.Model]) -> dict[str, Any]:
    """The form for a new row as a browser would send it."""
    form = client.get(page(model, "add")).context["adminform"].form
    initial = {name: field.get_initial_for_field(form.fields[name], name) for name in form.fields for field in (form,)}
    return {name: value for name, value in initial.items() if value not in (None, False)} | ADDED[model]


def test_every_form_of_ours_says_what_it_did(client: Client) -> None:
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="admin")
    added = set()
    for model, options in admin.site._registry.items():
        if not is_ours({"app_label": model._meta.app_label}):
            continue
        asks = (options.has_add_permission, options.has_change_permission, options.has_delete_permission)
        if any(ask(request) for ask in asks):
            assert isinstance(options, TellingAdmin), f"{model.__name__}: put TellingAdmin before its other bases"
            assert options.takes_effect.endswith("."), f"{model.__name__}: when does it count?"
            assert "nexus/labels.js" in str(options.media), f"{model.__name__}: fields without names"
        if options.has_add_permission(request):
            added.add(model)
    assert added == set(ADDED)


@pytest.mark.parametrize("model", ADDED, ids=lambda model: model.__name__)
def test_adding_says_what_was_added_and_when_it_counts(client: Client, model: type[models.Model]) -> None:
    data = filled(client, model)
    if model is ApiToken:
        data["owner"] = User.objects.get(username="admin").pk
    response = client.post(page(model, "add"), data, follow=True)
    if model is ApiToken:
        assert b"successfully" not in response.content
        assert ApiToken.objects.exists(), "its answer shows the secret"
        return
    assert "successfully" not in said(response)
    assert said(response).startswith("Added the "), response.context.get("errors")
    options = admin.site._registry[model]
    assert isinstance(options, TellingAdmin)
    assert said(response).endswith(options.takes_effect)


def test_changing_says_from_what_to_what(client: Client) -> None:
    client.post(page(AccessGrant, "add"), filled(client, AccessGrant))
    grant = AccessGrant.objects.get()
    form = client.get(page(AccessGrant, "change", grant.pk)).context["adminform"].form
    data = {name: form[name].value() for name in form.fields if form[name].value() not in (None, False)}
    told = said(client.post(page(AccessGrant, "change", grant.pk), data, follow=True))
    assert told == "Nothing was changed: access grant “in” is as it was."
    told = said(client.post(page(AccessGrant, "change", grant.pk), data | {"effect": "deny"}, follow=True))
    assert "effect from “allow” to “deny”. It counts at once" in told
    told = said(client.post(page(AccessGrant, "delete", grant.pk), {"post": "yes"}, follow=True))
    assert told.startswith("Deleted the access grant “in”. It counts at once")


def test_changing_names_the_rows_below(client: Client) -> None:
    Agent.objects.create(name="clerk")
    group = AgentGroup.objects.create(name="board")
    data = {"members-TOTAL_FORMS": "1", "members-INITIAL_FORMS": "0", "members-0-agent": "clerk"}
    data["members-0-group"] = group.pk
    told = said(client.post(page(AgentGroup, "change", group.pk), data, follow=True))
    assert "added group member “clerk in board”. It counts for what is sent from now on" in told


def test_long_texts_are_only_named(client: Client) -> None:
    team = Team.objects.create(name="writers", definition=TEAM)
    data = {"name": "writers", "definition": TEAM.replace("bob", "eve")}
    told = said(client.post(page(Team, "change", team.pk), data, follow=True))
    assert "“writers”: definition. It counts for chats that start from now on" in told, told
    assert isinstance(admin.site._registry[Approval], TellingAdmin)
