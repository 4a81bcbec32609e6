"""schemathesis attacks the HTTP API by its own description: no 5xx, and no answer that is not described.

It runs in an environment of its own, made at the first run. By default it tries each endpoint a few times; with
``API_FUZZ_SECONDS`` it goes on for so long, with more kinds of attacks. ``API_FUZZ_SEED`` repeats a run.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from bench.ground import BenchError
from bench.venv import make_venv
from messaging.api import ReliableCommunicationBus
from messaging.directory import external
from messaging.models import DeadLetter, Delivery
from messaging.operating import register_external
from nexus_api.scopes import Scope
from nexus_api.tokens import create_token
from tests.support.operators import make_auditor
from tests.support.paths import ROOT

pytestmark = pytest.mark.whole

SECONDS = int(os.environ.get("API_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("API_FUZZ_SEED", random.randrange(10**9)))
REQUIREMENTS = Path(__file__).parent / "api_fuzz_requirements.txt"
CONFIGURATION = Path(__file__).parent / "api_fuzz.toml"
HOOKS = Path(__file__).parent / "api_fuzz_hooks.py"
EXTERNAL = "/external-agents/"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
    "unsupported_method",
)


@pytest.fixture(scope="session")
def schemathesis() -> Path:
    """Its command."""
    try:
        python = make_venv(ROOT / "var" / "api_fuzz" / "venv", (REQUIREMENTS,))
    except BenchError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"schemathesis cannot be installed here: {error}")
    return python.parent / "schemathesis"


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(SECONDS + 120)
def test_nothing_undescribed_and_no_defect(
    schemathesis: Path, live_server: LiveServer, settings: Settings, tmp_path: Path
) -> None:
    make_auditor(settings)
    # So that waits and streams do not take the time of everything else.
    settings.NEXUS = {**settings.NEXUS, "API_STREAM_SECONDS": 0.2, "API_RATE": 1_000_000}
    DeadLetter.objects.create(agent="auditor", reason="handler_error", body=b"\xff")
    owner = User.objects.create_superuser("root")
    _, secret = create_token(name="fuzz", owner=owner, scopes=list(Scope), visibility="all")
    left_out = ["--exclude-path-regex", f"/reply$|{EXTERNAL}"]
    assert attack(schemathesis, live_server.url, secret, tmp_path, left_out, examples=2) >= 40


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(SECONDS + 120)
def test_external_agents_with_leases_that_hold(
    schemathesis: Path, live_server: LiveServer, settings: Settings, tmp_path: Path
) -> None:
    make_auditor(settings)
    external.forget()
    settings.NEXUS = {**settings.NEXUS, "API_RATE": 1_000_000}
    register_external("outside")
    bus = ReliableCommunicationBus()
    for number in range(10 * (SECONDS or 10)):
        bus.send(bus.start_workflow("w"), "outside", "text.translate", {"n": number}, sender="auditor")
    _, secret = create_token(
        name="fuzz", owner=User.objects.create_superuser("root"), scopes=["agents:act"], senders=["outside", "other"]
    )
    told = {"FUZZ_URL": f"{live_server.url}/api{EXTERNAL}outside", "FUZZ_OTHER": "other", "FUZZ_SECRET": secret}
    part = ["--include-path-regex", EXTERNAL]
    assert attack(schemathesis, live_server.url, secret, tmp_path, part, examples=5, told=told) >= 20
    settled = set(Delivery.objects.filter(agent="outside").values_list("state", flat=True))
    assert settled >= {"processed"}, settled  # so leases were completed: the hooks' example at least
    external.forget()


def attack(
    schemathesis: Path,
    url: str,
    secret: str,
    folder: Path,
    part: list[str],
    *,
    examples: int,
    told: dict[str, str] | None = None,
) -> int:
    """Run schemathesis, which must find nothing.

    Args:
        schemathesis: its command.
        url: of the site.
        secret: of the token.
        folder: to run in.
        part: options that choose endpoints.
        examples: for each endpoint, in the short form.
        told: what its hooks get as environment; None for no hooks.

    Returns:
        How many requests it made up.
    """
    long = ["--max-time", str(SECONDS), "--max-examples", str(SECONDS)]
    extent = long if SECONDS else ["--phases", "examples,fuzzing", "--max-examples", str(examples), "--no-shrink"]
    configuration = CONFIGURATION.read_text(encoding="utf-8")
    hooks = "" if told is None else f'hooks = "{HOOKS}"\n'
    (folder / "api_fuzz.toml").write_text(hooks + configuration, encoding="utf-8")
    command = [
        str(schemathesis), "--config-file", str(folder / "api_fuzz.toml"), "run", f"{url}/api/openapi.json",
        "--header", f"Authorization: Bearer {secret}",
        "--checks", ",".join(CHECKS), *part, *extent, "--seed", str(SEED),
        "--workers", "1", "--request-timeout", "20", "--no-color", "--generation-database", "none",
    ]  # fmt: skip
    environment = {**os.environ, **(told or {})}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS + 90)
    print(f"API_FUZZ_SEED={SEED}", done.stdout[-20_000:], done.stderr[-2_000:])
    assert done.returncode == 0
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None
    return int(found[1])
