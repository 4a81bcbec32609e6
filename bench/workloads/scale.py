"""Scale: what happens to the rate, and to memory, as things grow. Nexus alone, against itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psycopg

from bench.cpu import resident
from bench.ground import BenchError, BenchServers
from bench.progress import Rounds, say
from bench.results import Figures
from bench.systems.base import run_once
from bench.systems.nexus import TEMPLATE, NexusSystem, migrate
from bench.workloads.filling import fill
from messaging.testing.servers.waiting import wait_until

WORKER_COUNTS = (1, 2, 4)
OPEN_WORKFLOWS = {1: 200, 10: 200, 1_000: 10, 10_000: 1}
"""Conversations at once → legs of each."""

SAMPLE_EVERY = 0.5
MEMORY_CONVERSATIONS = 200
FIRST_SAMPLE = 10_000


def log_sizes(ground: BenchServers, sizes: Sequence[int], rounds: Rounds, conversations: int, legs: int) -> Figures:
    """Race on an empty log and on one that holds so many messages, in turns."""
    migrate(ground)
    found: Figures = {}
    name = "nexus_long_log"
    url = ground.new_database(name, template=TEMPLATE)
    held = 0
    try:
        for size in sizes:
            fill(url, size - held)
            held = size
            for number in rounds:
                for what, system in (
                    (f"empty, beside {size:,}", NexusSystem(ground, f"empty{number}")),
                    (f"{size:,} in the log", NexusSystem(ground, f"full{number}", database=name)),
                ):
                    found.setdefault(what, []).append(run_once(system, conversations, legs).figures())
            with psycopg.connect(url) as connection:
                row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
            say(f"with {size:,} messages the log has {(row[0] if row else 0) / 1e9:.1f} GB")
    finally:
        ground.postgres.drop_database(name)
    return found


def open_workflows(ground: BenchServers, rounds: Rounds) -> Figures:
    """Race with more and more conversations at once."""
    found: Figures = {}
    for number in rounds:
        for count, legs in OPEN_WORKFLOWS.items():
            say(f"{count:,} workflows at once, {legs} messages each")
            race = run_once(NexusSystem(ground, f"w{count}_{number}"), count, legs)
            found.setdefault(f"{count:,} workflows", []).append(race.figures())
    return found


def worker_counts(ground: BenchServers, rounds: Rounds, conversations: int, legs: int) -> Figures:
    """Race with more and more worker processes."""
    found: Figures = {}
    for number in rounds:
        for count in WORKER_COUNTS:
            say(f"{count} worker processes")
            race = run_once(NexusSystem(ground, f"p{count}_{number}", processes=count), conversations, legs)
            found.setdefault(f"{count} worker processes", []).append(race.figures())
    return found


def memory(ground: BenchServers, messages: int) -> Figures:
    """Let two worker processes handle many messages, and watch their memory."""
    system = NexusSystem(ground, "memory")
    legs = messages // MEMORY_CONVERSATIONS
    total = legs * MEMORY_CONVERSATIONS
    samples: list[tuple[int, float]] = []
    say(f"worker memory over {total:,} messages")
    try:
        system.start()
        system.warm_up()
        system.ledger.clear()
        pool = system.worker_pids()
        with system.client("race", 0, MEMORY_CONVERSATIONS, legs) as client:
            client.go(60)
            deadline = time.monotonic() + 3600
            told = 0
            while (handled := len(system.ledger)) < total:
                system.check_alive()
                samples.append((handled, sum(map(resident, pool))))
                if handled - told >= 50_000:
                    told = handled
                    say(f"{handled:,} of {total:,} handled; {samples[-1][1]:.0f} MB")
                if time.monotonic() > deadline:
                    raise BenchError(f"only {handled:,} of {total:,} messages were handled within an hour")
                time.sleep(SAMPLE_EVERY)
            wait_until(lambda: len(system.ledger) >= total, 60, "the last messages")
            samples.append((total, sum(map(resident, pool))))
        wrong = system.check()
        if wrong:
            raise BenchError(f"{system.name}: {', '.join(wrong)}")
    finally:
        system.stop()
    first = next(megabytes for handled, megabytes in samples if handled >= min(FIRST_SAMPLE, total))
    found = {"messages": float(total), "MB after 10,000": first, "MB at the end": samples[-1][1]}
    return {"workers and relay": [found]}
