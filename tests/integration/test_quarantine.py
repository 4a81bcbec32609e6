"""The quarantine's entrances and the rules' versions: commands, the admin, the system check."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from messaging.api import ReliableCommunicationBus, registry
from messaging.checks.rules import check_rules
from messaging.models import DeadLetter, Delivery, RuleSet, Verdict
from messaging.testing import drain

RULES = "rules: {patterns: {action: quarantine, settings: {patterns: [{id: word, regex: open-sesame}]}}}\n"


@pytest.fixture
def waiting(transactional_db: None, settings: Settings, tmp_path: Path) -> Any:
    """One message of two waits."""
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    settings.NEXUS = {"VERIFICATION_RULES": str(file)}
    bus = ReliableCommunicationBus()
    bus.register_agent("q-web")
    bus.register_agent("q-agent", lambda message, context: None)
    workflow = bus.start_workflow("test")
    bus.send(workflow, "q-agent", "test.message", {"text": "open-sesame"}, sender="q-web")
    drain()
    yield Verdict.objects.get(state="waiting")
    for name in ("q-web", "q-agent"):
        registry.remove(name)


def run(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("nexus_rules", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_the_command_lists_releases_and_rejects(waiting: Verdict) -> None:
    (row,) = run("quarantine", "list")
    assert (row["verdict"], row["agent"], row["position"], row["pointer"]) == (waiting.pk, "q-agent", 1, "/text")
    (told,) = run("quarantine", "reject", str(waiting.pk), "--reason", "an order")
    assert told["done"]
    assert DeadLetter.objects.get().detail.endswith("rejected it: an order")
    assert run("quarantine", "list") == []
    with pytest.raises(CommandError, match="1 of 1"):
        run("quarantine", "reject", str(waiting.pk))


def test_the_admin_shows_and_releases(waiting: Verdict, admin_client: Client) -> None:
    page = admin_client.get(reverse("admin:nexus_verdict_changelist") + "?state__exact=waiting")
    assert page.status_code == 200
    assert f"#{waiting.pk} quarantine" in page.content.decode()
    shown = admin_client.get(reverse("admin:nexus_verdict_change", args=[waiting.pk])).content.decode()
    assert "Release" in shown
    assert "open-sesame" not in shown
    post = {"action": "release", "_selected_action": [waiting.pk]}
    admin_client.post(reverse("admin:nexus_verdict_changelist"), post)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.resolved_by) == ("released", "admin")
    drain()
    assert Delivery.objects.get().state == "processed"


def test_the_admin_rejects_with_a_reason(waiting: Verdict, admin_client: Client) -> None:
    post = {"action": "reject", "_selected_action": [waiting.pk]}
    url = reverse("admin:nexus_verdict_changelist")
    assert "becomes a dead letter" in admin_client.post(url, post).content.decode()
    admin_client.post(url, {**post, "confirmed": "1", "reason": "an order"})
    assert DeadLetter.objects.get().detail == "admin rejected it: an order"


def test_rules_are_edited_in_the_admin_as_versions(db: None, admin_client: Client) -> None:
    url = reverse("admin:nexus_ruleset_add")
    assert "is not known here" in admin_client.post(url, {"text": "rules: {paterns: {}}"}).content.decode()
    assert not RuleSet.objects.exists()
    assert admin_client.post(url, {"text": RULES}).status_code == 302
    stored = RuleSet.objects.get()
    assert stored.created_by == "admin"
    assert "open-sesame" in admin_client.get(url).content.decode()
    assert (
        "change"
        not in admin_client.get(reverse("admin:nexus_ruleset_change", args=[stored.pk])).context["title"].lower()
    )


def test_a_file_becomes_the_next_version_once(db: None, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    assert run("load", str(file))["new"]
    assert not run("load", str(file))["new"]
    file.write_text("rules: {rate: {settings: {messages: -1}}}")
    with pytest.raises(CommandError, match=r"rules\.yaml, line 1"):
        run("load", str(file))
    assert RuleSet.objects.count() == 1


def test_the_check_names_the_broken_file(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("rules: {secretz: {}}")
    settings.NEXUS = {"VERIFICATION_RULES": str(file)}
    (found,) = check_rules()
    assert found.id == "nexus.E021"
    assert "did you mean 'secrets'" in found.msg
    settings.NEXUS = {"VERIFICATION_RULES": "default"}
    assert check_rules() == []
