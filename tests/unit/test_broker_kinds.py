"""A broker is one folder and one line: the example of CONTRIBUTING.md is taken at its word."""

from __future__ import annotations

import re
import sys
from types import ModuleType

import pytest
from celery import Celery
from django.core.checks import run_checks
from pytest_django.fixtures import Settings

from messaging import brokers
from messaging.brokers import BrokerKind, InMemoryBroker, create_broker, kind_of
from messaging.celery import install
from messaging.transport.current import get_broker
from tests.support.paths import ROOT


@pytest.fixture
def nats(monkeypatch: pytest.MonkeyPatch) -> BrokerKind:
    """The kind that CONTRIBUTING.md adds, on a broker in memory."""
    broker = ModuleType("messaging.brokers.nats.broker")
    vars(broker)["NatsBroker"] = type("NatsBroker", (InMemoryBroker,), {})
    monkeypatch.setitem(sys.modules, "messaging.brokers.nats", ModuleType("messaging.brokers.nats"))
    monkeypatch.setitem(sys.modules, "messaging.brokers.nats.broker", broker)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(r"^```python\n(# messaging/brokers/nats/kind\.py\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    namespace: dict[str, type[BrokerKind]] = {}
    exec(found[1], namespace)
    kind = namespace["NatsKind"]()
    monkeypatch.setattr(brokers, "KINDS", (*brokers.KINDS, kind))
    return kind


def test_a_new_broker_is_one_line(nats: BrokerKind, settings: Settings) -> None:
    assert kind_of("nats://host") is nats
    assert type(create_broker("nats://host")).__name__ == "NatsBroker"
    settings.NEXUS = {"BROKER_URL": "nats://host"}
    assert type(get_broker()).__name__ == "NatsBroker"
    app = Celery("shop", set_as_current=False)
    install(app)
    assert set(app.amqp.queues) == {"celery", "nexus.tasks"}
    assert app.conf.broker_url == "redis://localhost"
    settings.DEBUG = True
    assert any("beside NATS" in message.msg for message in run_checks(tags=["nexus"]))


def test_no_scheme_belongs_to_two_kinds() -> None:
    schemes = [scheme for kind in brokers.KINDS for scheme in kind.schemes]
    assert len(schemes) == len(set(schemes))
