"""The step sanitize, on both buses: what is stored and handled is clean, and what is refused is not stored."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from messaging.api import CommunicationBus, ReliableCommunicationBus
from messaging.core.errors import ContentRefused, ContentRulesError
from messaging.models import Message
from messaging.security.content.loading import get_sanitizer
from tests.support.lab import Lab
from tests.unit.content.samples import SECRETS

SECRET = SECRETS["npm-token"]
REDACTED = "[redacted:secret/npm-token]"


def test_what_is_stored_and_handled_is_clean(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Any] = []
    lab.agent("clerk", lambda message, context: heard.append(message.data))
    workflow = lab.bus.start_workflow("w")
    with caplog.at_level(logging.WARNING, "nexus.content"):
        lab.bus.send(workflow, "clerk", "note", {"t": SECRET, SECRET: "\x1b[1mx"}, sender="web")
    lab.settle()
    assert heard == [{"t": REDACTED, REDACTED: "x"}]
    assert SECRET.encode() not in bytes(Message.objects.get().envelope)
    assert "secret/npm-token" in caplog.text
    assert SECRET not in caplog.text


def test_the_in_process_bus_cleans_too() -> None:
    heard: list[Any] = []
    bus = CommunicationBus()
    bus.register_agent("web")
    bus.register_agent("clerk", lambda message, context: heard.append(message.data))
    bus.send(bus.start_workflow("w"), "clerk", "note", {"t": SECRET}, sender="web")
    assert heard == [{"t": REDACTED}]


def test_what_is_refused_is_not_stored(lab: Lab, settings: Settings, tmp_path: Path) -> None:
    rules = tmp_path / "content.yaml"
    rules.write_text("secrets: refuse\n")
    settings.NEXUS = {**settings.NEXUS, "CONTENT_RULES": str(rules)}
    lab.agent("clerk", lambda message, context: None)
    workflow = lab.bus.start_workflow("w")
    with pytest.raises(ContentRefused, match="/t: secret/npm-token") as caught:
        lab.bus.send(workflow, "clerk", "note", {"t": SECRET}, sender="web")
    assert SECRET not in str(caught.value)
    assert not Message.objects.exists()


def test_a_bus_reads_the_rules_before_its_first_message(settings: Settings, tmp_path: Path) -> None:
    get_sanitizer.cache_clear()
    ReliableCommunicationBus()
    assert get_sanitizer.cache_info().currsize == 1
    rules = tmp_path / "content.yaml"
    rules.write_text("secrets: [")
    settings.NEXUS = {**settings.NEXUS, "CONTENT_RULES": str(rules)}
    ReliableCommunicationBus()  # does not fail: what it sends is refused
    with pytest.raises(ContentRulesError):
        get_sanitizer()
