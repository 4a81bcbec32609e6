"""Both directions of A2A 1.0 with the official SDK, in an environment of its own.

``A2A_SDK_PYTHON`` is a Python with ``pip install 'a2a-sdk[http-server,signing]==1.3.0' uvicorn``; without it this is
skipped. The contract itself is tested in tests/contract/a2a.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from agents.adapters.a2a import A2AAgent
from agents.api import AgentTeamBuilder, Reply, Turn
from messaging.api import HandlerKind, ReliableCommunicationBus, registry
from messaging.directory import names as directory
from messaging.directory.names import save_registered_agents
from messaging.security.signatures import keys
from messaging.testing import drain
from messaging.testing.servers.nodes.ports import free_port
from messaging.testing.servers.waiting import wait_until
from tests.support.a2a import TEAM, A2ACaller, forget, offer

PYTHON = os.environ.get("A2A_SDK_PYTHON", "")
FOLDER = Path(__file__).parent / "a2a_sdk"
pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="A2A_SDK_PYTHON names no Python with the official SDK"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture(autouse=True)
def configured(transactional_db: None, settings: Settings, tmp_path: Path) -> None:
    """A broker in memory, a team that is offered, and a second key for cards."""
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    from cryptography.hazmat.primitives import serialization

    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(serialization.Encoding.PEM, form, plain)
    (tmp_path / "card.pem").write_bytes(pem)
    settings.NEXUS = {
        "BROKER_URL": f"memory://{uuid4()}",
        "A2A_TEAMS": TEAM,
        "A2A_CARD_KEY_FILE": str(tmp_path / "card.pem"),
    }
    directory.forget()
    keys.forget()


def test_the_sdks_client_speaks_to_a_team(live_server: LiveServer, tmp_path: Path) -> None:
    def speak(turn: Turn) -> Reply:
        return Reply(content=f"echo: {turn.last}")

    builder = AgentTeamBuilder(ReliableCommunicationBus())
    builder.add_agent("echo", speak, kind=HandlerKind.TRANSACTIONAL)
    members = [{"name": "anna", "human": True}, {"name": "echo"}]
    offer({"description": "Writes things.", "members": members, "termination": {"max_rounds": 2}})
    owner, stranger = A2ACaller("owner"), A2ACaller("stranger", visibility="own")
    base = f"{live_server.url}/a2a/teams/{TEAM}"
    command = [PYTHON, str(FOLDER / "client.py"), base, owner.secret, stranger.secret]
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:

            def done() -> bool:
                drain()
                return process.poll() is not None

            wait_until(done, 90, "the SDK's client to be done")
            output = process.communicate(timeout=10)[0]
        finally:
            process.kill()
            process.wait(10)
            forget("echo")
    assert process.returncode == 0, (tmp_path / "errors").read_text()[-3_000:]
    seen = json.loads(output)
    assert seen["verified"] == [TEAM, TEAM]
    assert seen["question"][0] == "TASK_STATE_INPUT_REQUIRED"
    assert seen["repeated"] is True
    assert (seen["events"][0], seen["last"]) == ("task", "TASK_STATE_COMPLETED")
    assert set(seen["events"][1:]) == {"status_update", "artifact_update"}
    assert (seen["history"], seen["result"]) == (["Write.", "Blue.", "echo: Blue."], "echo: Blue.")
    assert (seen["listed"], seen["subscribed"]) == ([True], ["task"])
    assert (seen["cancelled"], seen["cancelled again"]) == ("TASK_STATE_CANCELED", "TaskNotCancelableError")
    assert (seen["0.3"], seen["0.3 client"]) == (-32009, "VersionNotSupportedError")
    assert seen["foreign"] == ["TaskNotFoundError"] * 2


@pytest.fixture
def sdk_agent(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of an agent of the SDK, and the file in which it counts."""
    port, worked = free_port(), tmp_path / "worked"
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen([PYTHON, str(FOLDER / "server.py"), str(port), str(worked)], stderr=errors)
        url = f"http://127.0.0.1:{port}"

        def up() -> bool:
            assert process.poll() is None, (tmp_path / "errors").read_text()[-3_000:]
            try:
                return httpx2.get(f"{url}/.well-known/agent-card.json").status_code == 200
            except httpx2.HTTPError:
                return False

        try:
            wait_until(up, 30, "the SDK's agent")
            yield url, worked
        finally:
            process.kill()
            process.wait(10)


def test_an_agent_of_the_sdk_is_a_member_of_a_chat(sdk_agent: tuple[str, Path]) -> None:
    url, worked = sdk_agent
    A2AAgent("remote", url, patience=10.0).register()
    save_registered_agents()
    try:
        builder = AgentTeamBuilder(ReliableCommunicationBus())
        definition = {"name": "t", "members": ["remote"], "termination": {"max_rounds": 3}}
        manager = builder.create_chat_manager()
        chat = manager.start_chat(builder.build_team(definition), "please ask me")
        manager.say(chat, "blue")
        drain()
        entries = [entry.content for entry in manager.transcript(chat) if entry.speaker == "remote"]
    finally:
        registry.remove("remote")
    assert entries[0] == "What colour?"
    assert entries[1].startswith("sdk: ")
    assert len(worked.read_text().splitlines()) == 3
