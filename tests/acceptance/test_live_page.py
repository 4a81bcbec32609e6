"""Viewers of a live page miss and repeat nothing while the web server and workers are killed.

LIVE_FULL_SIZE=1 kills more often, and measures the admin's pages beside 200 viewers (PostgreSQL, one uvicorn).
"""

from __future__ import annotations

import json
import os
import signal
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic

import pytest

from messaging.testing.servers import proctree
from messaging.testing.servers.nodes.ports import free_port
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.support.installation import PYTHON, Installation
from tests.support.live_viewers import LiveViewer, get

FULL_SIZE = os.environ.get("LIVE_FULL_SIZE") == "1"
Install = Callable[..., Installation]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 if FULL_SIZE else 120)]


def start_web(installation: Installation, port: int) -> Supervised:
    """A uvicorn, started again whenever it ends."""
    command = [PYTHON, "-m", "uvicorn", "nexus_site.asgi:application", "--port", str(port), "--log-level", "warning"]
    web = Supervised(
        command, log_file=installation.folder / "web.log", environment=installation.environment, name="web"
    )
    installation.processes.append(web)
    return web.keep_running()


def up(port: int) -> bool:
    try:
        return get(port, "/health/live")[0] == 200
    except OSError:
        return False


def made_by(installation: Installation, legs: int) -> dict[str, str]:
    """A race in one workflow, a session and a link to watch it by."""
    written = installation.run_module("tests.support.live_viewers", str(legs))
    made: dict[str, str] = json.loads(written.splitlines()[-1])
    return made


@pytest.mark.whole
def test_viewers_miss_and_repeat_nothing(install_embedded: Install) -> None:
    kills = 6 if FULL_SIZE else 1
    legs = 400 * (kills + 1)  # enough to last until the last kill
    installation = install_embedded(redelivery_after=2, publish_grace=1, relay_interval=0.1)
    port = free_port()
    web = start_web(installation, port)
    installation.relay()
    worker = installation.worker(concurrency=1)
    made = made_by(installation, legs)
    wait_until(lambda: up(port), 30, lambda: f"the web server. {installation.logs()}")
    with ExitStack() as stack:
        viewers = [stack.enter_context(LiveViewer(port, made["events"])) for _ in range(4)]
        for number in range(kills):
            seen = number * 100 + 10
            wait_until(
                lambda seen=seen: all(viewer.numbers and viewer.numbers[-1] >= seen for viewer in viewers),  # type: ignore[misc]
                60,
                lambda: f"messages to be seen: {[viewer.numbers[-1:] for viewer in viewers]}. {installation.logs()}",
            )
            web.kill()
            for child in worker.children() if worker.running else []:
                proctree.send(child, signal.SIGKILL)
            wait_until(
                lambda number=number: all(viewer.comings > number + 1 for viewer in viewers),  # type: ignore[misc]
                60,
                lambda: f"viewers to come back: {[viewer.comings for viewer in viewers]}. {installation.logs()}",
            )
        expected = list(range(1, legs + 1))
        wait_until(
            lambda: all(len(viewer.numbers) >= legs for viewer in viewers),
            60,
            lambda: f"all messages: {[len(viewer.numbers) for viewer in viewers]}. {installation.logs()}",
        )
        assert [viewer.numbers for viewer in viewers] == [expected] * len(viewers)


@pytest.mark.skipif(not FULL_SIZE, reason="LIVE_FULL_SIZE=1 measures it")
def test_200_viewers_do_not_slow_the_admin(install: Install, rabbitmq_url: str) -> None:
    installation = install(rabbitmq_url)
    port = free_port()
    start_web(installation, port)
    installation.relay()
    made = made_by(installation, 5_000)
    wait_until(lambda: up(port), 60, lambda: f"the web server. {installation.logs()}")
    page = f"/admin/nexus/workflow/{made['workflow']}/change/"

    def measure(count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            for path in ("/admin/", "/admin/nexus/workflow/", page):
                began = monotonic()
                status, _ = get(port, path, made["cookie"])
                seconds.append(monotonic() - began)
                assert status == 200
        return seconds

    def shown(seconds: list[float]) -> str:
        cuts = statistics.quantiles(seconds, n=20)
        return f"p50 {statistics.median(seconds) * 1_000:.0f} ms, p95 {cuts[-1] * 1_000:.0f} ms"

    def connections() -> int:
        return int(installation.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")[0][0])

    measure(3)
    print(f"\nidle: {shown(measure(20))}; {connections()} connections")
    with ExitStack() as stack:
        viewers = [stack.enter_context(LiveViewer(port, made["events"])) for _ in range(200)]
        wait_until(lambda: all(viewer.comings for viewer in viewers), 60, lambda: "200 viewers")
        held = connections()
        print(f"200 viewers, nothing said: {shown(measure(20))}; {held} connections")
        assert held < 30
        installation.worker(concurrency=1)
        wait_until(lambda: all(viewer.numbers for viewer in viewers), 60, lambda: "messages to be seen")
        print(f"200 viewers, while messages come: {shown(measure(20))}; seen {len(viewers[0].numbers)}")
