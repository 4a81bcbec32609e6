"""Transfers between two databases, each on a server of its own, while all that takes part is killed at every step.

TWO_PHASE_TRANSFERS=5000 makes as many. A turn of deaths is one of the process at each step of the protocol and, in each
second turn, one of a bank; a turn begins with every 250th transfer that has ended, so that most end between deaths.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from messaging.testing.servers.nodes import NodeError, PostgresNode
from messaging.testing.servers.waiting import wait_until
from messaging.transactions.two_phase.steps import ProtocolStep
from tests.acceptance.conftest import Install
from tests.support.banks import ALIASES, create_banks, movements, prepared_in
from tests.support.installation import Repeatedly
from tests.support.two_phase_agents import make_tokens

COUNT = int(os.environ.get("TWO_PHASE_TRANSFERS", "30"))
BOUND = 300.0 if COUNT <= 30 else 300.0 + COUNT / 2
LEAST_COMMITTED = 0.8 if COUNT >= 300 else 0.3
"""A tenth is refused, and deaths abort some."""
TURNS = max(1, COUNT // 250)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(BOUND + 120)]

Nodes = dict[str, PostgresNode]


@pytest.fixture
def banks() -> Iterator[Nodes]:
    """A server for each bank."""
    settings = {"max_prepared_transactions": "200"}
    with PostgresNode(settings=settings) as first, PostgresNode(settings=settings) as second:
        yield dict(zip(ALIASES, (first, second), strict=True))


@pytest.mark.whole
def test_transfers_are_atomic_whoever_dies_at_whatever_step(
    install: Install, rabbitmq_url: str, banks: Nodes, tmp_path: Path
) -> None:
    urls, tokens = create_banks(banks), tmp_path / "tokens"
    make_tokens(tokens, 0)
    installation = install(
        rabbitmq_url,
        environment={
            "TWO_PHASE_TOKENS": str(tokens),
            "TWO_PHASE_TIMEOUT": "45",
            **{f"DATABASE_URL_{alias.upper()}": url for alias, url in urls.items()},
            **{f"TWO_PHASE_{alias.upper()}": str(banks[alias].data_folder / "postmaster.pid") for alias in ALIASES},
        },
        redelivery_after=3,
        publish_grace=1,
        max_attempts=50,
        relay_interval=0.1,
        lease_seconds=3,
        leased_concurrency=8,
    )
    installation.environment["NEXUS_AGENTS"] = "tests.support.two_phase_agents"
    installation.relay()
    for worker in [installation.worker(concurrency=1) for _ in range(2)]:
        worker.wait_for_log("ready", 60)

    turns = [0]

    def revive(_: int) -> None:
        for node in banks.values():
            with suppress(NodeError):  # killed while it was starting
                node.start()
        if turns[-1] + 1 < TURNS and count_ended() >= len(turns) * COUNT / TURNS:
            turns.append(turns[-1] + 1)
            make_tokens(tokens, turns[-1])

    def count_ended() -> int:
        ended = "SELECT count(*) FROM nexus_two_phase WHERE status IN ('committed', 'aborted')"
        return int(installation.query(ended)[0][0])

    def ended() -> bool:
        row = installation.query(
            "SELECT count(*), count(*) FILTER (WHERE status NOT IN ('committed', 'aborted')) FROM nexus_two_phase"
        )[0]
        return row == (COUNT, 0) and not any(prepared_in(url) for url in urls.values())

    def standing() -> str:
        states = installation.query("SELECT status, count(*) FROM nexus_two_phase GROUP BY status")
        names = sorted(each.name for each in tokens.iterdir())
        return f"all transfers to end; {states}; tokens {names}. {installation.logs()}"

    began = time.monotonic()
    with Repeatedly(0.1, revive):
        installation.program("transfers", str(COUNT), timeout=BOUND)
        wait_until(ended, BOUND, standing, interval=0.2, ignoring=(psycopg.Error,))
    seconds = time.monotonic() - began
    for node in banks.values():
        node.start()

    runs = {str(run): status for run, status in installation.query("SELECT id, status FROM nexus_two_phase")}
    moved = {alias: movements(urls[alias]) for alias in ALIASES}
    for run, status in runs.items():
        expected = ([-1], [1]) if status == "committed" else ([], [])
        assert tuple(moved[alias].get(run, []) for alias in ALIASES) == expected, (run, status)
    assert set(moved["bank_a"]) | set(moved["bank_b"]) <= set(runs)
    numbers = installation.query("SELECT input::json->>'number' FROM nexus_two_phase WHERE status = 'committed'")
    assert not [number for (number,) in numbers if int(number) % 10 == 0], "what was refused has committed"
    left = sorted(each.name for each in tokens.iterdir())
    assert not [name for name in left if not name.startswith("recover")], left
    assert {"committed", "aborted"} == set(runs.values())
    installation.run_command("nexus_transactions", "verify")
    found = Counter(runs.values())
    assert found["committed"] >= COUNT * LEAST_COMMITTED
    made = sum(len(ProtocolStep) * (1 if turn % 2 else 2) for turn in turns)
    print(
        f"{COUNT} transfers: {dict(found)} in {seconds:.1f} s ({COUNT / seconds:.1f} a second), "
        f"{made - len(left)} of {made} deaths"
    )
