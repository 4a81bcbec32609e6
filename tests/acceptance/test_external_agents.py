"""Programs outside, killed, frozen and cut off: each message is handled once, in order.

``EXTERNAL_KILLS`` and ``EXTERNAL_MESSAGES`` make it longer; ``EXTERNAL_VENVS=1`` runs agents of other frameworks, each
in an environment of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import UUID

import httpx
import pytest
from django.contrib.auth.models import User
from nexus_agent import Agent, AsyncAgent, Context, Transient
from pytest_django.fixtures import Settings
from pytest_django.live_server_helper import LiveServer

from bench.venv import make_venv
from messaging.core.envelope import parse_envelope
from messaging.directory import external
from messaging.models import Delivery, Message, OnceResult
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from nexus_api.tokens import create_token
from tests.support.lab import Lab
from tests.support.model_server import Answer, ModelServer
from tests.support.paths import ROOT

KILLS = int(os.environ.get("EXTERNAL_KILLS", "2"))
MESSAGES = int(os.environ.get("EXTERNAL_MESSAGES", "60"))
SEED = int(os.environ.get("EXTERNAL_SEED", random.randrange(10**9)))
WORKFLOWS = 6
EXAMPLES = ROOT / "examples" / "external"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900 if KILLS > 2 else 120)]


class Outside:
    """An installation with its API, and what programs outside need to know of it."""

    def __init__(self, lab: Lab, url: str, folder: Path) -> None:
        self.lab, self.url, self.folder = lab, url, folder
        self._owner = User.objects.create_superuser("root")
        self._secrets: dict[str, str] = {}

    def secret(self, agent: str) -> str:
        """A token that may act for an agent."""
        if agent not in self._secrets:
            made = create_token(name=agent, owner=self._owner, scopes=["agents:act"], senders=[agent])
            self._secrets[agent] = made[1]
        return self._secrets[agent]

    def client(self, agent: str, **options: Any) -> Agent:
        """A client in this process; its agent is registered."""
        client = Agent(self.url, self.secret(agent), agent, **options)
        client.register()
        return client

    def send(self, agent: str, count: int, *, workflows: int = 1, **data: Any) -> list[UUID]:
        """Send messages in turn to an agent in several workflows."""
        started = [self.lab.workflow() for _ in range(workflows)]
        for number in range(count):
            self.lab.send(started[number % workflows], agent, {"n": number // workflows, **data})
        return started

    def replies(self, workflow: UUID) -> list[Any]:
        """The data of the replies in a workflow, in order."""
        rows = Message.objects.filter(workflow=workflow).exclude(source="web").order_by("sequence")
        return [parse_envelope(bytes(row.envelope), max_bytes=1_000_000).data for row in rows]

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = 60) -> None:
        """Let the relay work until a condition holds, four times a second: it shares the processor with programs."""
        next_turn = 0.0

        def turn() -> bool:
            nonlocal next_turn
            if monotonic() >= next_turn:
                self.lab.relay.turn()
                next_turn = monotonic() + 0.25
            return condition()

        wait_until(turn, timeout, what)

    def answered(self, count: int) -> Callable[[], bool]:
        """Whether so many messages have been answered."""
        return lambda: Message.objects.exclude(source="web").count() >= count

    def program(self, command: list[str], log: str, **environment: str) -> Supervised:
        """A process that has nothing of this project's environment."""
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "NEXUS": self.url, "VISIBILITY": "1"}
        return Supervised(command, log_file=self.folder / log, environment={**variables, **environment})


@pytest.fixture
def outside(
    live_server: LiveServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Outside]:
    external.forget()
    lab = Lab(settings, monkeypatch, API_RATE=1_000_000, API_STREAMS=16)
    yield Outside(lab, f"{live_server.url}/api", tmp_path)
    lab.close()
    external.forget()


@pytest.mark.whole
def test_killed_again_and_again(outside: Outside) -> None:
    """SIGKILL at any moment: every message is answered once, in order, and its state counts each once."""
    print(f"EXTERNAL_SEED={SEED}")
    chance = random.Random(SEED)
    script = ROOT / "tests" / "support" / "external_program.py"
    command = [sys.executable, str(script), outside.url, outside.secret("counter"), "counter", "5"]
    program = outside.program(command, "counter.log")
    program.start()
    try:
        program.wait_for_log("ready", timeout=30)
        workflows = outside.send("counter", MESSAGES, workflows=WORKFLOWS)
        for at in sorted(chance.sample(range(1, MESSAGES - 4), KILLS)):
            outside.wait(outside.answered(at), f"{at} answers")
            program.kill()
            program.start()
        outside.wait(outside.answered(MESSAGES), "all answers", 300)
        program.terminate()
        program.wait_for_log("ended in good order", timeout=30)
    finally:
        program.stop()
    for index, workflow in enumerate(workflows):
        count = len(range(index, MESSAGES, WORKFLOWS))
        assert outside.replies(workflow) == [{"n": n, "count": n + 1} for n in range(count)]
    print("attempts beyond the first:", Delivery.objects.filter(agent="counter", attempts__gt=1).count())


def test_a_program_in_node(outside: Outside) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    command = [node, str(EXAMPLES / "node_agent.mjs"), "upper"]
    program = outside.program(command, "node.log", TOKEN=outside.secret("upper"))
    program.start()
    try:
        program.wait_for_log("is ready", timeout=30)
        (workflow,) = outside.send("upper", 6, text="loud")
        outside.wait(outside.answered(3), "three answers")
        program.kill()
        program.start()
        outside.wait(outside.answered(6), "all answers")
    finally:
        program.stop()
    assert outside.replies(workflow) == [{"text": "LOUD", "count": count} for count in range(1, 7)]


def test_one_that_was_frozen_stores_nothing(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    with outside.client("sleeper", visibility=1.0) as frozen, outside.client("sleeper") as other:
        (workflow,) = outside.send("sleeper", 1)
        monkeypatch.setattr(frozen, "_beat", lambda leased, done: None)  # frozen: nothing renews
        (leased,) = frozen.lease()

        def handle(message: dict[str, Any], context: Context) -> None:
            found: list[Any] = []

            def taken_over() -> bool:
                found.extend(other.lease())
                return bool(found)

            outside.wait(taken_over, "the other one's lease")
            other.handle_one(lambda _, context: context.reply("other"), found[0])
            context.reply("frozen")

        frozen.handle_one(handle, leased)
    assert outside.replies(workflow) == ["other"]
    assert Delivery.objects.get(message__source="web").state == "processed"


class LosesAnswers(httpx.HTTPTransport):
    """Lets requests arrive, and loses the first answer to each path."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: set[str] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if request.url.path.endswith("/complete") and request.url.path not in self.lost:
            self.lost.add(request.url.path)
            response.close()
            raise httpx.ReadError("The answer was lost.")
        return response


def test_lost_answers_and_heartbeats(outside: Outside) -> None:
    transport = LosesAnswers()
    with outside.client("slow", visibility=1.0) as agent:
        (workflow,) = outside.send("slow", 2)
        agent._client._transport = transport
        for _ in range(2):
            (leased,) = agent.lease(wait=5)
            until = Delivery.objects.get(pk=leased["delivery"]).available_at

            def handle(message: dict[str, Any], context: Context, leased: Any = leased, until: Any = until) -> None:
                """Longer than the lease: it is renewed meanwhile."""
                row = Delivery.objects.filter(pk=leased["delivery"])
                outside.wait(lambda: row.get().available_at > until, "a renewal")
                context.reply(message["data"]["n"])

            agent.handle_one(handle, leased)
    assert len(transport.lost) == 2
    assert outside.replies(workflow) == [0, 1]
    assert set(Delivery.objects.filter(agent="slow").values_list("attempts", flat=True)) == {1}


def test_async_handlers_fail_go_on_and_pay_once(outside: Outside) -> None:
    secret, calls = outside.secret("async"), []

    async def main() -> None:
        async with AsyncAgent(outside.url, secret, "async") as agent:

            async def handle(message: dict[str, Any], context: Context) -> None:
                async def pay() -> int:
                    calls.append(message["data"]["n"])
                    return len(calls)

                paid = await context.once("pay", pay)
                if context.attempt == 1:
                    raise Transient("not now", retry_after=0)
                context.reply({"n": message["data"]["n"], "paid": paid})
                if message["data"]["n"] == 2:
                    agent.stop()

            await agent.register(max_attempts=3)
            await agent.run(handle, wait=1, signals=False)

    with outside.client("async"):
        pass
    outside.lab.configure(retry_base=0.05, retry_cap=0.05)
    (workflow,) = outside.send("async", 3)
    asyncio.run(asyncio.wait_for(main(), 60))
    assert (calls, outside.replies(workflow)) == ([0, 1, 2], [{"n": n, "paid": n + 1} for n in range(3)])
    assert OnceResult.objects.count() == 3


@pytest.mark.skipif(not os.environ.get("EXTERNAL_VENVS"), reason="installs other frameworks: EXTERNAL_VENVS=1")
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "agent"), [("openai_agents", "writer"), ("smolagents", "researcher")])
def test_other_frameworks(outside: Outside, name: str, agent: str) -> None:
    """Each is killed in mid-conversation, while its model thinks."""
    python = make_venv(ROOT / "var" / "external" / name, (EXAMPLES / f"{name}_requirements.txt",))
    tool = ("1", "final_answer", '{"answer": "said"}')
    answer = {"openai_agents": Answer(text="said"), "smolagents": Answer(tool_calls=(tool,))}[name]
    held = {
        "openai_agents": Answer(text="said", gate="thinks"),
        "smolagents": Answer(tool_calls=(tool,), gate="thinks"),
    }
    with ModelServer([answer, held[name], answer]) as model:
        program = outside.program(
            [str(python), str(EXAMPLES / f"{name}_example.py")],
            f"{name}.log",
            TOKEN=outside.secret(agent),
            OPENAI_BASE_URL=model.base_url,
            OPENAI_API_KEY="none",
        )
        program.start()
        try:
            program.wait_for_log("ready", timeout=90)
            (workflow,) = outside.send(agent, 4, text="say it")
            model.wait_at("thinks")
            program.kill()
            program.start()
            outside.wait(outside.answered(4), "all answers", 120)
        finally:
            program.stop()
            print((outside.folder / f"{name}.log").read_text()[-3000:])
    assert outside.replies(workflow) == [{"text": "said"}] * 4
    assert len(model.requests) == 5
