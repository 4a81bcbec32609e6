"""Alert rules and dashboard ask for metrics that there are, and each alert leads to a paragraph of the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from messaging.core.outcome import Outcome
from messaging.observing.metrics import exposition
from tests.support.paths import ROOT

RULES = ROOT / "deploy" / "prometheus" / "nexus.rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "nexus.json"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}


def alerts() -> list[dict[str, str]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [*(rule["expr"] for rule in alerts()), *(target["expr"] for panel in panels for target in panel["targets"])]


@pytest.mark.django_db
def test_every_metric_is_there_and_every_one_is_described() -> None:
    families = list(text_string_to_metric_families(exposition().decode()))
    known = {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}
    used = {name for expression in expressions() for name in re.findall(r"nexus_\w+", expression)}
    assert used <= known
    assert len(used) >= len(families), "a metric that nobody looks at"
    described = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    for family in families:
        assert f"| `{family.name}{'_total' if family.type == 'counter' else ''}` |" in described


def test_every_outcome_that_is_asked_for_exists() -> None:
    asked = {value for one in expressions() for value in re.findall(r'outcome[=~!]+"([^"]+)"', one)}
    assert {word for value in asked for word in value.split("|")} <= {outcome.value for outcome in Outcome}


def test_every_alert_has_its_paragraph() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    titles = re.findall(r"^### (Nexus\w+)\n(?=\w)", runbook, re.MULTILINE)
    assert sorted(rule["alert"] for rule in alerts()) == sorted(titles)
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"  # type: ignore[index]


def test_promtool_finds_nothing(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    panels = [one.replace("$__rate_interval", "5m") for one in expressions()]
    rules = [{"record": f"panel:{number}", "expr": one} for number, one in enumerate(panels)]
    written = tmp_path / "panels.yml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(RULES), str(written)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
