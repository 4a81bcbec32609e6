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
from messaging.models import DeadLetter
from nexus_api.scopes import Scope
from nexus_api.tokens import create_token
from tests.support.operators import make_auditor
from tests.support.paths import ROOT

SECONDS = int(os.environ.get("API_FUZZ_SECONDS", "0"))
SEED = int(os.environ.get("API_FUZZ_SEED", random.randrange(10**9)))
REQUIREMENTS = Path(__file__).parent / "api_fuzz_requirements.txt"
CONFIGURATION = Path(__file__).parent / "api_fuzz.toml"
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
    long = ["--max-time", str(SECONDS), "--max-examples", str(SECONDS)]
    extent = long if SECONDS else ["--phases", "fuzzing", "--max-examples", "2", "--no-shrink"]
    command = [
        str(schemathesis), "--config-file", str(CONFIGURATION), "run", f"{live_server.url}/api/openapi.json",
        "--header", f"Authorization: Bearer {secret}",
        "--checks", ",".join(CHECKS), "--exclude-path-regex", "/reply$",
        *extent, "--seed", str(SEED),
        "--workers", "1", "--request-timeout", "20", "--no-color", "--generation-database", "none",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 90)
    print(f"API_FUZZ_SEED={SEED}", done.stdout[-20_000:], done.stderr[-2_000:])
    assert done.returncode == 0
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None
    assert int(found[1]) >= 40
