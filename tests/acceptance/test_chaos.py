"""Handlers that raise, return, send and store anything Python has, beside innocents, on real servers and workers.

``CHAOS_HANDLERS=200 CHAOS_SEED=7 pytest tests/acceptance/test_chaos.py -s`` is the long form; the seed is printed.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import psycopg
import pytest

from messaging.testing.servers.waiting import wait_until
from tests.acceptance.conftest import Install
from tests.support import chaos
from tests.support.chaos import INNOCENTS
from tests.support.installation import run_program

SEND = "import django; django.setup()\nfrom tests.support import chaos_agents\nchaos_agents.send()"
COUNT = int(os.environ.get("CHAOS_HANDLERS", "40"))
OF_THE_HANDLER = {"handler_error", "attempts_used_up", "unknown_agent"}


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_innocents_are_handled_and_offenders_are_dead_letters_with_their_cause(
    install: Install, rabbitmq_url: str, tmp_path: Path
) -> None:
    number = int(os.environ.get("CHAOS_SEED") or random.randrange(2**32))
    behaviours = chaos.generate(COUNT, number)
    print(f"CHAOS_SEED={number}: {len(behaviours)} handlers")
    chaos.write(tmp_path / "chaos.json", behaviours)
    environment = {"CHAOS_FILE": str(tmp_path / "chaos.json")}
    installation = install(rabbitmq_url, environment=environment, relay_interval=0.1, retry_base=0.05)
    installation.environment["NEXUS_AGENTS"] = "tests.support.chaos_agents"
    installation.worker()
    installation.relay()
    run_program(["-c", SEND], installation.environment, timeout=120)
    began = time.monotonic()

    def innocents() -> bool:
        return len(installation.query("SELECT 1 FROM tests_ledger")) >= INNOCENTS

    wait_until(innocents, 60, lambda: f"the innocents. {installation.logs()}", interval=0.1, ignoring=(psycopg.Error,))
    in_time = time.monotonic() - began

    def open_offenders() -> list[tuple[str, str]]:
        return installation.query(
            "SELECT agent, state FROM nexus_delivery WHERE agent LIKE 'chaos-%'"
            " AND state IN ('pending', 'sent', 'held', 'leased')"
        )

    wait_until(
        lambda: not open_offenders(),
        120,
        lambda: (
            f"{[(one, [b for b in behaviours if b.name == one[0]]) for one in open_offenders()]} "
            f"{installation.logs(4_000)}"
        ),
        interval=0.2,
    )
    print(f"innocents in {in_time:.1f} s, everything settled in {time.monotonic() - began:.1f} s")
    ledger = installation.query("SELECT delivery, count(*) FROM tests_ledger GROUP BY delivery")
    assert len(ledger) == INNOCENTS
    assert {times for _, times in ledger} == {1}
    letters = {
        agent: (reason, error, detail)
        for agent, reason, error, detail in installation.query(
            "SELECT agent, reason, error, detail FROM nexus_dead_letter"
        )
    }
    states = dict(installation.query("SELECT agent, state FROM nexus_delivery WHERE agent LIKE 'chaos-%'"))
    for one in behaviours:
        if states[one.name] == "processed":
            assert one.verb != "raise", one
            assert one.name not in letters
            continue
        assert states[one.name] == "dead", one
        reason, error, detail = letters[one.name]
        assert reason in OF_THE_HANDLER, (one, reason, detail)
        assert error, one
        assert detail, one
        if one.verb == "raise":
            name = one.value.partition("(")[0].rpartition(".")[2]
            assert name in f"{error} {detail}" or "Unprintable" in one.value, (one, error, detail[-300:])
    dead = sum(state == "dead" for state in states.values())
    print(f"{len(states)} handlers: {dead} dead letters, {len(states) - dead} harmless")
