"""What deploy/ sets, on real servers: `check --deploy` finds nothing, and the roles have passwords."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml

from messaging.testing.servers.nodes import PostgresNode
from tests.acceptance.conftest import Install
from tests.support.paths import ROOT

pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(120)]

DEPLOY = ROOT / "deploy"
SECRETS = {
    "SECRET_KEY": secrets.token_urlsafe(50),
    "NEXUS_MASTER_KEY": secrets.token_hex(32),
    "NEXUS_METRICS_TOKEN": secrets.token_urlsafe(20),
}
ELSEWHERE = {"DATABASE_URL", "BROKER_URL", "NEXUS_DATA_DIR", "NEXUS_MASTER_KEY_FILE"}
"""What the test's installation has of its own."""


def settings() -> dict[str, dict[str, str]]:
    """The settings of each of the ways to deploy, without what only its own hosts know."""
    example = (DEPLOY / "systemd" / "nexus.env.example").read_text(encoding="utf-8")
    hosts = (DEPLOY / "compose" / "env.example").read_text(encoding="utf-8")
    told = dict(re.findall(r"^(\w+)=(.*)$", hosts, re.MULTILINE))
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))["x-settings"]
    filled = {name: re.sub(r"\$\{(\w+)[^}]*\}", lambda found: told[found[1]], one) for name, one in compose.items()}
    kubernetes = yaml.safe_load((DEPLOY / "kubernetes" / "settings.yaml").read_text(encoding="utf-8"))["data"]
    ways = {
        "compose": filled,
        "kubernetes": kubernetes,
        "systemd": dict(re.findall(r"^(\w+)=(.*)$", example, re.MULTILINE)),
    }
    return {way: {name: one for name, one in found.items() if name not in ELSEWHERE} for way, found in ways.items()}


def test_check_deploy_finds_nothing(install: Install, rabbitmq_url: str, tmp_path: Path) -> None:
    """Warnings count. RACE_FULL_SIZE=1 looks at all three sets; tests/unit says that they are as strict as this one."""
    installation = install(rabbitmq_url)
    kept = {name: one for name, one in installation.environment.items() if not name.startswith("NEXUS_")}
    ways = settings() if os.environ.get("RACE_FULL_SIZE") == "1" else {"compose": settings()["compose"]}
    for way, given in ways.items():
        installation.environment = {**kept, **given, **SECRETS, "NEXUS_DATA_DIR": str(tmp_path / way)}
        found = installation.run_command("check", "--deploy", "--fail-level", "WARNING")
        assert "no issues (0 silenced)" in found, way


def test_the_roles_get_their_passwords(postgres: PostgresNode) -> None:
    url = postgres.create_database("passwords")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute((DEPLOY / "postgres_roles.sql").read_bytes())
    given = {"NEXUS_OWNER_PASSWORD": "owner's \\ password", "NEXUS_APP_PASSWORD": 'app"s password'}
    folder = PostgresNode._folder_of_binaries()
    environment = {**os.environ, **given, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = [str(DEPLOY / "postgres_passwords.sh"), url]
    try:
        for _ in range(2):
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
            assert (done.returncode, done.stdout + done.stderr) == (0, "")
        with psycopg.connect(url) as connection:
            kinds: dict[str, str | None] = dict(
                connection.execute("SELECT rolname, left(rolpassword, 13) FROM pg_authid").fetchall()
            )
        assert kinds["nexus_owner"] == kinds["nexus_app"] == "SCRAM-SHA-256"
        assert kinds["nexus_read"] is None
        missing = subprocess.run(
            command, env={**environment, "NEXUS_APP_PASSWORD": ""}, capture_output=True, timeout=30
        )
        assert missing.returncode != 0
    finally:
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            for name in ("nexus_owner", "nexus_app"):
                connection.execute(f"ALTER ROLE {name} PASSWORD NULL".encode())
