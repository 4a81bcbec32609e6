"""A worker that is killed while it asks a model about a message: paid for once, one verdict, and it fails closed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from messaging.models import Verdict
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.processes.conftest import MakeSite
from tests.support.model_server import Answer, ModelServer

KILLS = int(os.environ.get("NEXUS_JUDGE_KILLS", "2"))
"""20 and more take minutes."""


@pytest.mark.whole
@pytest.mark.timeout(120 + 20 * KILLS)
def test_each_kill_in_mid_call_has_paid_once(make_site: MakeSite, server: ModelServer, tmp_path: Path) -> None:
    server.script = lambda request: Answer(text='{"verdict": "harmless"}', gate="model")
    settings = {"model": "m", "base_url": server.base_url, "key_variable": None}
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"rules: {{llm-judge: {{settings: {json.dumps(settings)}}}}}")
    agents = "tests.integration.agents.processes.apps.slow"
    with make_site(agents, verification_rules=rules) as site:
        for number in range(KILLS):
            site.send(site.bus.start_workflow("killed"), "quick", {"text": f"message {number}"})
            server.wait_for(number + 1, "model")
            site.kill_and_restart_worker()
        server.open("model")
        last = site.send(site.bus.start_workflow("calm"), "quick", {"text": "last"})
        assert site.reply_to(last) == {"text": "last"}
        failed = Verdict.objects.filter(state="waiting", reason__contains="not asked twice")
        wait_until(lambda: failed.count() == KILLS, 60, lambda: f"verdicts: {list(Verdict.objects.values())}")
    asked = [request.body["messages"][1]["content"] for request in server.requests]
    assert len(asked) == len(set(asked)) == KILLS + 1, "every delivery was paid for once"
    assert Verdict.objects.exclude(delivery__agent="llm-judge").count() == KILLS + 1
