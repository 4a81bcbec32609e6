"""The HTTP API under a little load: ``API_LOAD=500`` sends by eight clients to gunicorn, and as many to uvicorn."""

from __future__ import annotations

import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.acceptance.conftest import Install
from tests.support.installation import run_program

SENDS = int(os.environ.get("API_LOAD", "0"))
CLIENTS = 8
CALLER = """
import django
django.setup()
from django.contrib.auth.models import User
from messaging.api import ReliableCommunicationBus
from nexus_api.tokens import create_token
ReliableCommunicationBus().register_agent("sink")
owner = User.objects.create_superuser("root")
print(create_token(name="t", owner=owner, scopes=["workflows:start", "messages:send"])[1])
"""

pytestmark = [
    pytest.mark.whole,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not SENDS, reason="API_LOAD says how many messages"),
]


def test_everything_is_taken_and_handled_once(install: Install, rabbitmq_url: str) -> None:
    installation = install(rabbitmq_url, api_rate=1_000_000)
    installation.worker()
    installation.relay()
    secret = run_program(["-c", CALLER], installation.environment, timeout=120).strip()
    servers = {"gunicorn": installation.web(), "uvicorn": installation.web(asgi=True)}
    for number, (name, url) in enumerate(servers.items(), start=1):
        load(name, f"{url}/api/workflows", secret)
        installation.wait_processed(number * SENDS, 120)
    installation.assert_handled_once_in_order(len(servers) * SENDS)


def load(server: str, url: str, secret: str) -> None:
    """Send from all clients at once, each in a workflow of its own; print the figures."""

    def run(client_number: int) -> tuple[Counter[int], list[float]]:
        statuses: Counter[int] = Counter()
        took: list[float] = []
        with httpx2.Client(headers={"Authorization": f"Bearer {secret}"}, timeout=60) as client:
            workflow = client.post(url, json={"name": "w"}).json()["workflow"]
            for number in range(client_number, SENDS, CLIENTS):
                began = time.perf_counter()
                body = {"recipient": "sink", "type": "race.leg", "data": {"n": number}}
                answer = client.post(
                    f"{url}/{workflow}/messages", json=body, headers={"Idempotency-Key": f"{url} {number}"}
                )
                took.append(time.perf_counter() - began)
                statuses[answer.status_code] += 1
        return statuses, took

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        done = list(pool.map(run, range(CLIENTS)))
    lasted = time.perf_counter() - began
    statuses = sum((one for one, _ in done), Counter[int]())
    times = sorted(one for _, took in done for one in took)
    p50, p99 = (1_000 * times[int(len(times) * share)] for share in (0.5, 0.99))
    print(f"{server}: {SENDS / lasted:.0f} sends/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms, {dict(statuses)}")
    assert statuses == {201: SENDS}
