"""Tokens: what they may do, see and say; each right is taken away once."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from io import StringIO
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from agents.models import Approval, ChatSession
from messaging.models import DeadLetter, Message, Workflow
from messaging.security.access.store import change
from nexus_api import callers, visibility
from nexus_api.models import ApiToken
from nexus_api.scopes import OF_EVERYTHING, Scope
from nexus_api.throttling import count_request
from nexus_api.tokens import digest_of
from tests.support.api import ApiCaller, close, problem
from tests.support.operators import superuser

NOBODY = str(UUID(int=1))
MESSAGE = {"recipient": "auditor", "type": "audit.start"}
START = {"name": "Audit", "message": MESSAGE}
ENDPOINTS: dict[Scope, list[tuple[str, str]]] = {
    Scope.WORKFLOWS_READ: [("get", "/workflows"), ("get", f"/workflows/{NOBODY}")],
    Scope.WORKFLOWS_START: [("post", "/workflows"), ("post", f"/workflows/{NOBODY}/fork")],
    Scope.WORKFLOWS_OPERATE: [("post", f"/workflows/{NOBODY}/{verb}") for verb in ("pause", "resume", "cancel")],
    Scope.MESSAGES_READ: [
        ("get", f"/workflows/{NOBODY}/messages"),
        ("get", f"/workflows/{NOBODY}/events"),
        ("get", f"/messages/{NOBODY}"),
        ("get", f"/messages/{NOBODY}/reply"),
    ],
    Scope.MESSAGES_SEND: [("post", f"/workflows/{NOBODY}/messages")],
    Scope.APPROVALS_READ: [("get", "/approvals"), ("get", f"/approvals/{NOBODY}")],
    Scope.APPROVALS_ANSWER: [("post", f"/approvals/{NOBODY}/answer")],
    Scope.DEAD_LETTERS_READ: [("get", "/dead-letters"), ("get", "/dead-letters/1")],
    Scope.DEAD_LETTERS_RESOLVE: [("post", "/dead-letters/1/replay"), ("post", "/dead-letters/1/discard")],
    Scope.AGENTS_READ: [("get", "/agents"), ("get", "/agents/auditor")],
    Scope.AGENTS_OPERATE: [("post", "/agents/auditor/pause"), ("post", "/agents/auditor/resume")],
    Scope.AGENTS_ACT: [
        ("post", "/external-agents/auditor"),
        ("post", "/external-agents/auditor/lease"),
        *(("post", f"/external-agents/auditor/deliveries/{NOBODY}/{act}") for act in ("renew", "complete", "fail")),
    ],
    Scope.HEALTH_READ: [("get", "/health")],
}


def ask(caller: ApiCaller, method: str, path: str) -> int:
    response = caller.get(path) if method == "get" else caller.post(path, {"reason": "r"})
    return int(response.status_code)


def test_every_endpoint_is_in_the_table() -> None:
    paths = ApiCaller().get("/openapi.json").json()["paths"]
    described = {(method, path) for path, operations in paths.items() for method in operations}
    assert len(described) == sum(len(found) for found in ENDPOINTS.values())


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_opens_its_endpoints_and_no_others(scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = ApiCaller(scopes=[scope])
    for of, endpoints in ENDPOINTS.items():
        for method, path in endpoints:
            status = ask(caller, method, path)
            assert (status == 403) == (of != scope), (method, path, status)
    caller.token.owner.is_superuser = False
    caller.token.owner.save()
    assert {ask(caller, *endpoint) for endpoint in ENDPOINTS[scope]} == {403}  # no more than its owner
    # Broken once: this test can fail.
    monkeypatch.setattr(callers.Caller, "check", lambda self, scope: None)
    assert 403 not in {ask(caller, *endpoint) for found in ENDPOINTS.values() for endpoint in found}


def test_a_token_that_does_not_hold() -> None:
    caller = ApiCaller()
    assert caller.get("/workflows").status_code == 200
    past = timezone.now() - timedelta(seconds=1)
    for changes in ({"revoked_at": past}, {"expires_at": past}):
        before = {name: getattr(caller.token, name) for name in changes}
        ApiToken.objects.update(**changes)
        problem(caller.get("/workflows"), 401, "invalid-token")
        ApiToken.objects.update(**before)
    assert caller.get("/workflows").status_code == 200
    User.objects.update(is_active=False)
    response = caller.get("/workflows")
    problem(response, 401, "invalid-token")
    assert response["WWW-Authenticate"].startswith("Bearer")
    for secret in ("", "nxs_", "nxs_\x00", "x" * 5_000, caller.secret + "x", digest_of(caller.secret)):
        caller.secret = secret
        assert caller.get("/workflows").status_code == 401


def test_only_a_digest_is_stored_and_use_is_noted() -> None:
    caller = ApiCaller()
    assert caller.secret not in json.dumps(list(ApiToken.objects.values()), default=str)
    assert ApiToken.objects.get().last_used_at is None
    caller.get("/workflows")
    used = ApiToken.objects.get().last_used_at
    assert used is not None
    caller.get("/workflows")
    assert ApiToken.objects.get().last_used_at == used  # to the minute


# --- throttling ---


def test_so_many_requests_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    caller, other = ApiCaller(rate=3), ApiCaller("other")
    assert [caller.get("/workflows").status_code for _ in range(4)][:3] == [200, 200, 200]
    response = caller.get("/workflows")
    problem(response, 429, "too-many-requests")
    assert 1 <= int(response["Retry-After"]) <= 60
    assert other.get("/workflows").status_code == 200
    # Broken once: this test can fail.
    monkeypatch.setattr(callers, "count_request", lambda identity, rate: None)
    assert caller.get("/workflows").status_code == 200


def test_who_cannot_be_counted_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ConnectionError

    caller = ApiCaller()
    monkeypatch.setattr(cache, "add", fail)
    problem(caller.get("/workflows"), 503, "cache-unavailable")


def test_the_settings_rate(settings: Settings) -> None:
    settings.NEXUS = {**settings.NEXUS, "API_RATE": 1}
    caller = ApiCaller()
    assert [caller.get("/workflows").status_code for _ in range(2)] == [200, 429]
    count_request("somebody", 1)


# --- tenants ---


def foreign_paths(workflow: object, message: object, approval: object, letter: object) -> list[tuple[str, str]]:
    return [
        ("get", f"/workflows/{workflow}"),
        ("get", f"/workflows/{workflow}/messages"),
        ("get", f"/workflows/{workflow}/events"),
        ("post", f"/workflows/{workflow}/messages"),
        ("post", f"/workflows/{workflow}/pause"),
        ("post", f"/workflows/{workflow}/resume"),
        ("post", f"/workflows/{workflow}/cancel"),
        ("post", f"/workflows/{workflow}/fork"),
        ("get", f"/messages/{message}"),
        ("get", f"/messages/{message}/reply"),
        ("get", f"/approvals/{approval}"),
        ("post", f"/approvals/{approval}/answer"),
        ("get", f"/dead-letters/{letter}"),
        ("post", f"/dead-letters/{letter}/replay"),
        ("post", f"/dead-letters/{letter}/discard"),
    ]


BODIES = {"messages": MESSAGE, "fork": {"after": 1}, "answer": {"approved": True}, "discard": {"reason": "r"}}


def answers(caller: ApiCaller, paths: list[tuple[str, str]]) -> list[tuple[int, str]]:
    found = []
    for method, path in paths:
        verb = path.rpartition("/")[2]
        body = None if verb in ("resume", "replay") else BODIES.get(verb, {})
        response = caller.get(path) if method == "get" else caller.post(path, body)
        text = "" if response.streaming else response.content.decode()
        found.append((response.status_code, text.replace(response["X-Request-Id"], "ID")))
        if response.streaming:
            close(response)
    return found


def test_a_foreign_workflow_answers_like_an_unknown_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = ApiCaller("one", visibility="own"), ApiCaller("two", visibility="own")
    receipt = one.post("/workflows", START).json()
    workflow = receipt["workflow"]
    approval = Approval.objects.create(
        id=uuid4(), workflow_id=workflow, key="k", reply_to="auditor", purpose="approval", question="?"
    )
    letter = DeadLetter.objects.create(workflow_id=workflow, reason="handler_error", body=b"")
    mine = foreign_paths(workflow, receipt["message"], approval.pk, letter.pk)
    unknown = [uuid4(), uuid4(), uuid4(), letter.pk + 1]
    foreign, nobodys = answers(two, mine), answers(two, foreign_paths(*unknown))
    for (status, text), (other_status, other_text) in zip(foreign, nobodys, strict=True):
        for real, made in zip((workflow, receipt["message"], approval.pk, letter.pk), unknown, strict=True):
            text, other_text = text.replace(str(real), "…"), other_text.replace(str(made), "…")
        assert (status, text) == (other_status, other_text)
        assert status == 404
    for path in ("/workflows", "/approvals", "/dead-letters"):
        assert len(one.get(path).json()["items"]) == 1
        assert two.get(path).json()["items"] == []
    assert Workflow.objects.get().status == "running"
    assert 404 not in {status for status, _ in answers(one, [path for path in mine if "fork" not in path[1]])}
    # Broken once: this test can fail.
    monkeypatch.setattr(visibility, "WorkflowOrigin", _Everything)
    assert two.get(f"/workflows/{workflow}").status_code == 200


class _Everything:
    class objects:  # noqa: N801 - Django's name
        @staticmethod
        def filter(**_: object) -> object:
            class Found:
                @staticmethod
                def values(_: str) -> list[object]:
                    return list(Workflow.objects.values_list("pk", flat=True))

            return Found


def test_a_team_sees_its_chats() -> None:
    everyone, team = ApiCaller("all"), ApiCaller("team", visibility="team", team="writers")
    chats = [everyone.post("/workflows", {"name": "chat"}).json()["workflow"] for _ in range(2)]
    for chat, name in zip(chats, ("writers", "others"), strict=True):
        ChatSession.objects.create(pk=UUID(chat), team=name, definition="{}", state="{}")
    assert [item["id"] for item in team.get("/workflows").json()["items"]] == chats[:1]
    assert team.get(f"/workflows/{chats[0]}").json()["chat"]["team"] == "writers"
    assert team.get(f"/workflows/{chats[1]}").status_code == 404
    body = {"name": "n", "task": "t"}
    for wanted in ("others", {"name": "writers"}):
        problem(team.post("/workflows", {**body, "team": wanted}), 403, "team-not-allowed")
    own = ApiCaller("own", visibility="own")
    problem(own.post("/workflows", {**body, "team": {"name": "writers"}}), 403, "team-not-allowed")


# --- speaking ---


def test_a_token_speaks_as_its_agents() -> None:
    caller = ApiCaller(senders=["desk", "clerk"])
    workflow = caller.post("/workflows", {"name": "w"}).json()["workflow"]
    path = f"/workflows/{workflow}/messages"
    assert caller.post(path, MESSAGE).status_code == 201
    assert caller.post(path, {**MESSAGE, "sender": "clerk"}).status_code == 201
    problem(caller.post(path, {**MESSAGE, "sender": "web"}), 403, "sender-not-allowed")
    assert list(Message.objects.order_by("sequence").values_list("source", flat=True)) == ["desk", "clerk"]


def test_the_access_policy_applies(program: ApiCaller) -> None:
    from messaging.models import AccessEffect, AccessGrant

    with change("a test"):
        AccessGrant.objects.create(name="no", effect=AccessEffect.DENY, sender="web", recipient="auditor")
    problem(program.post("/workflows", START), 403, "not-authorized")
    assert Workflow.objects.count() == 0


# --- making tokens ---


def command(*arguments: str) -> str:
    out = StringIO()
    call_command("nexus_tokens", *arguments, stdout=out)
    return out.getvalue()


def test_the_command() -> None:
    User.objects.create_superuser("root")
    secret = command("create", "ci", "--owner", "root", "--scope", "workflows:read", "--days", "7").strip()
    assert ApiToken.objects.get().digest == digest_of(secret)
    listed = json.loads(command("list", "--json"))
    assert (listed[0]["name"], listed[0]["visibility"], listed[0]["revoked"]) == ("ci", "own", None)
    assert secret not in command("list")
    assert "revoked" in command("revoke", "ci")
    assert "revoked" in command("list")
    ready = ("--owner", "root", "--scope", "workflows:read")
    for wrong in (
        ("create", "ci", *ready),
        ("create", "b", "--owner", "nobody", "--scope", "workflows:read"),
        ("create", "b", *ready, "--visibility", "team"),
        ("create", "b", *ready, "--team", "t"),
        ("create", "b", *ready, "--days", "0"),
        ("create", "b", *ready, "--days", "99999999999"),
        ("create", "b", *ready, "--rate", "0"),
        ("create", "b", *ready, "--sender", "no name!"),
        ("create", "b", "--owner", "root", "--scope", "agents:read"),
        ("revoke", "nobody"),
    ):
        with pytest.raises(CommandError):
            command(*wrong)
    assert ApiToken.objects.count() == 1


def test_the_admin_shows_a_secret_once() -> None:
    client = superuser()
    form = {
        "name": "ci",
        "owner": str(User.objects.get().pk),
        "scopes": [scope.value for scope in Scope if scope not in OF_EVERYTHING],
        "senders": "desk, clerk",
        "visibility": "own",
        "team": "",
        "rate": "",
        "days": "7",
    }
    url = reverse("admin:nexus_api_apitoken_add")
    assert "lives" not in client.post(url, {**form, "days": "0"}).content.decode()
    refused = client.post(url, {**form, "visibility": "team"})
    assert "Give a team" in refused.content.decode()
    page = client.post(url, form)
    token = ApiToken.objects.get()
    secret = page.content.decode().partition('id="secret">')[2].partition("<")[0]
    assert (digest_of(secret), token.senders) == (token.digest, ["desk", "clerk"])
    assert "no-store" in page["Cache-Control"]
    change_page = client.get(reverse("admin:nexus_api_apitoken_change", args=[token.pk]))
    assert secret not in change_page.content.decode()
    client.post(
        reverse("admin:nexus_api_apitoken_changelist"), {"action": "revoke", "_selected_action": [str(token.pk)]}
    )
    token.refresh_from_db()
    assert token.revoked_at is not None


# --- request ids ---


def test_a_request_id_is_taken_or_made(program: ApiCaller, caplog: pytest.LogCaptureFixture) -> None:
    assert program.get("/workflows", X_Request_Id="order-17")["X-Request-Id"] == "order-17"
    for unfit in ("a b", "x" * 101, "a\x1b[0m"):
        made = program.get("/workflows", X_Request_Id=unfit)["X-Request-Id"]
        assert made != unfit
        assert len(made) == 32
    handler = next(found for found in logging.getLogger().handlers if found.filters)
    seen: list[str] = []
    handler.emit = lambda record: seen.append(handler.format(record))  # type: ignore[method-assign]
    program.get("/nothing", X_Request_Id="order-18")
    assert any("[order-18] " in line for line in seen), seen
