"""The examples of docs/api.md run as they stand, against a server."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from messaging.api import ReliableCommunicationBus
from messaging.models import Message, Workflow
from nexus_api.scopes import Scope
from nexus_api.tokens import create_token
from tests.support.operators import make_auditor
from tests.support.paths import ROOT


@pytest.mark.django_db(transaction=True)
def test_the_examples(live_server: LiveServer, settings: Settings) -> None:
    make_auditor(settings)
    ReliableCommunicationBus().register_agent("echo")
    owner = User.objects.create_superuser("root")
    scopes = [scope for scope in Scope if scope.partition(":")[0] not in ("agents", "health")]
    _, secret = create_token(name="docs", owner=owner, scopes=scopes)
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    environment = {**os.environ, "NEXUS": f"{live_server.url}/api", "TOKEN": secret}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert Workflow.objects.get().status == "cancelled"
    assert list(Message.objects.order_by("sequence").values_list("type", flat=True)) == ["order.check", "order.pay"]
    assert 'event: message\ndata: {"id"' in done.stdout
    assert done.stdout.rstrip().endswith('data: {"status": "cancelled"}')
