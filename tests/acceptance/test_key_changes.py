"""Keys change under load while workers are killed: nothing legitimate is refused, lost or dead. On real servers.

``KEYS_IN_FLIGHT=10000 pytest tests/acceptance/test_key_changes.py -s`` is the long form, with a kill every 3 s.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from messaging.testing.servers import proctree
from tests.acceptance.conftest import Install
from tests.support.installation import Installation, Repeatedly, run_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(580)]

IN_FLIGHT = int(os.environ.get("KEYS_IN_FLIGHT", "100"))
LONG = "KEYS_IN_FLIGHT" in os.environ
PAUSE, MAX_KILLS = (3.0, 1_000) if LONG else (0.7, 5)


def nexus_keys(installation: Installation, *arguments: str) -> str:
    return run_program(["manage.py", "nexus_keys", *arguments], installation.environment, timeout=300)


def active_key(installation: Installation) -> str:
    ((kid,),) = installation.query("SELECT kid FROM nexus_signing_key WHERE state = 'active'")
    return str(kid)


@pytest.mark.whole
def test_rotation_by_the_calendar_in_mid_load_refuses_nothing(install: Install, rabbitmq_url: str) -> None:
    """Two relays, and a key that is old after a second."""
    workflows, legs = (100, 100) if LONG else (40, 25)
    installation = install(
        rabbitmq_url,
        key_rotation_every=1.0 if LONG else 0.3,
        redelivery_after=3,
        publish_grace=1,
        relay_interval=0.1,
        max_attempts=50,
    )
    relays = [installation.relay(), installation.relay()]
    worker = installation.worker(concurrency=2)
    worker.wait_for_log("ready", 60)
    killed: list[int] = []

    def kill(number: int) -> None:
        children = worker.children() if worker.running else []
        if children:
            killed.append(number)
            proctree.send(children[number % len(children)], signal.SIGKILL)
        if number % 3 == 2:
            relays[number % 2].kill()

    with Repeatedly(PAUSE, kill):
        installation.program("race", str(workflows), str(legs))
        seconds = installation.wait_processed(workflows * legs, 400)
    installation.assert_handled_once_in_order(workflows * legs)
    states = dict(installation.query("SELECT state, count(*) FROM nexus_signing_key GROUP BY state"))
    used = len(installation.query("SELECT DISTINCT substr(signature, 1, 90) FROM nexus_message"))
    assert states["active"] == 1
    assert states["retired"] >= 1
    print(f"{workflows * legs} messages in {seconds:.0f} s, {states['retired']} rotations, {used} keys used, {killed}")


@pytest.mark.whole
@pytest.mark.parametrize("park", [True, False] if LONG else [True], ids=lambda park: "parks" if park else "goes on")
def test_a_revocation_under_load_loses_and_kills_nothing(install: Install, rabbitmq_url: str, park: bool) -> None:
    installation = install(
        rabbitmq_url, redelivery_after=3, publish_grace=1, relay_interval=0.1, max_attempts=50, batch_size=20
    )
    installation.relay()
    installation.program("sink", str(IN_FLIGHT), timeout=200)
    leaked = active_key(installation)
    worker = installation.worker(concurrency=2)
    if LONG:
        worker.wait_for_log("ready", 60)  # in the short form it is just starting: nothing is handled yet

    def kill(number: int) -> None:
        children = worker.children() if worker.running and number < MAX_KILLS else []
        if children:
            proctree.send(children[number % len(children)], signal.SIGKILL)

    with Repeatedly(PAUSE, kill):
        began = time.monotonic()
        told = nexus_keys(installation, "revoke", leaked, *(["--park"] if park else []), "--now")
        took = time.monotonic() - began
        assert f"{leaked} is revoked" in told
        assert active_key(installation) != leaked
        in_flight = int(told.partition("In flight: ")[2].partition(" ")[0])
        parked = [row[0] for row in installation.query("SELECT id FROM nexus_workflow WHERE status = 'parked'")]
        if park and parked:
            assert f"Parked: {len(parked)} workflows" in told
            assert "resume or cancel" in told
            listed = run_program(
                ["manage.py", "nexus_workflows", "list", "--status", "parked", "--limit", "1"],
                installation.environment,
                timeout=60,
            )
            assert f"The signing key {leaked} was revoked" in listed
            installation.wait_processed(IN_FLIGHT - len(parked), 300)
            assert installation.states()["processed"] == IN_FLIGHT - len(parked)
            for start in range(0, len(parked), 1_000):
                chosen = [str(one) for one in parked[start : start + 1_000]]
                run_program(["manage.py", "nexus_workflows", "resume", *chosen], installation.environment, timeout=300)
        installation.program("sink", "10")
        seconds = installation.wait_processed(IN_FLIGHT + 10, 400)
    installation.assert_handled_once_in_order(IN_FLIGHT + 10)
    assert in_flight > 0 or not LONG  # in the short form a quick worker may have handled all before
    print(
        f"revoked in {took:.1f} s with {in_flight} in flight, {len(parked)} parked, all handled {seconds:.0f} s later"
    )
