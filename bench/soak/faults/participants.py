"""What takes part in two-phase commits dies in their middle: each commit ends in both databases, or in none."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import psycopg

from bench.soak.faults.registry import fault, hold
from bench.soak.names import TILLS
from bench.soak.site import Site
from messaging.testing.servers.waiting import wait_until

RUNS = 12
END_WITHIN = 90.0
"""Seconds. They abort after 30, and what is decided is tried again every five."""
MOVED: dict[str, tuple[list[int], list[int]]] = {"committed": ([-1], [1]), "aborted": ([], [])}
"""What moved in the one database and in the other."""


@fault("participants of two-phase commits killed")
def kill_participants(site: Site, random: Random) -> int:
    runs: list[str] = site.operator.ask("transfer", str(RUNS))
    hold(random.uniform(0.1, 1.0))
    hit = sum(status not in MOVED for status in _statuses(site, runs))
    site.tills.kill()
    try:
        hold(random.uniform(0.0, 3.0))
    finally:
        site.tills.start()
    wait_until(
        lambda: _are_whole(site, runs),
        END_WITHIN,
        lambda: f"every two-phase commit to end as a whole; they are {sorted(_statuses(site, runs))}",
        interval=0.2,
        ignoring=(psycopg.Error,),
    )
    return hit


def _statuses(site: Site, runs: Sequence[str]) -> list[str]:
    """In the order of the runs."""
    rows = site.ledger.query("SELECT CAST(id AS text), status FROM nexus_two_phase")
    found: dict[str, str] = {row[0]: row[1] for row in rows}
    return [found[run] for run in runs]


def _are_whole(site: Site, runs: Sequence[str]) -> bool:
    moved: list[dict[str, list[int]]] = []
    for till in TILLS:
        with psycopg.connect(site.tills.url(till), connect_timeout=5) as connection:
            rows = connection.execute("SELECT run, array_agg(amount) FROM soak_transfer GROUP BY run").fetchall()
            prepared = connection.execute("SELECT 1 FROM pg_prepared_xacts LIMIT 1").fetchone()
        if prepared is not None:
            return False
        moved.append(dict(rows))
    return all(
        tuple(each.get(run, []) for each in moved) == MOVED.get(status)
        for run, status in zip(runs, _statuses(site, runs), strict=True)
    )
