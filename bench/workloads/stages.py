"""Where the time of a Nexus message goes, stage by stage.

py-spy samples the consumer threads of the workers while they run a long race; each sample belongs to the innermost
stage on its stack. Nothing in the production code measures anything. What PostgreSQL spends comes from
pg_stat_statements, what each part uses of the processors from /proc.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.ground import BenchServers
from bench.progress import say
from bench.results import Figures, show, table
from bench.systems.nexus import NexusSystem
from messaging.testing.servers.reaper import Reaper

CONVERSATIONS = 200
LEGS = 100
SAMPLES_A_SECOND = 250
STATEMENTS_SHOWN = 12

STAGES: tuple[tuple[str, str], ...] = (
    # innermost first: the first that matches a frame of the stack, from the leaf on, has it
    ("commit", r"atomic\.py|__exit__ \(.*transaction|commit \("),
    ("mark confirmed deliveries", r"mark_sent \(|mark \(.*publisher\.py"),
    ("open: policy, locks, keys, deliveries", r"open_batch \("),
    ("insert messages and deliveries", r"insert_messages \("),
    ("count mailboxes", r"extend_mailboxes \("),
    ("close: counters, processed-IDs, settled", r"close_batch \(|run_and_commit \("),
    ("look for held deliveries", r"held_successors \(|load_for_publishing \("),
    ("paused agents, status, other SQL", r"paused_among \(|write \(.*status\.py"),
    ("build and number outgoing messages", r"build_envelope \(|(add|made|_sign|write) \(.*writing\.py|\(.*outbox\.py"),
    ("run handlers", r"run_handler \("),
    ("parse and check", r"admit\w* \("),
    ("plan the order", r"make_plan \("),
    ("publish", r"begin \(|publish_begin \("),
    ("collect confirms", r"publish_collect \(|collect \("),
    ("acknowledge", r"acknowledge \("),
    ("wait for and receive messages", r"receive \("),
    ("the rest of the transaction", r"handle \(.*execution\.py"),
    ("the rest of the loop", r"consumer\.py"),
)


@dataclass(frozen=True, slots=True)
class Statement:
    """Of PostgreSQL: its text, calls, and microseconds a message inside the server."""

    text: str
    calls: int
    microseconds: float


@dataclass(frozen=True, slots=True)
class Stages:
    """Where the time goes.

    Args:
        rate: messages per second while it was sampled.
        stages: microseconds of a consumer thread's time a message.
        statements: the most expensive ones.
        batch: messages a transaction.
    """

    rate: float
    stages: dict[str, float]
    statements: list[Statement]
    batch: float

    def figures(self) -> Figures:
        """For the report."""
        whole = {"messages/s": self.rate, "messages a transaction": self.batch}
        return {"while sampled": [whole], **{name: [{"thread µs": value}] for name, value in self.stages.items()}}

    def statements_table(self) -> str:
        """What PostgreSQL's time went into."""
        cells = [[item.text, f"{item.calls:,}", show(item.microseconds)] for item in self.statements]
        return table(["PostgreSQL's statements", "calls", "µs a message"], cells)


def run(ground: BenchServers) -> Stages:
    """Run a long race and sample it."""
    say(f"where the time goes: sampling {CONVERSATIONS} conversations of {LEGS} messages")
    system = NexusSystem(ground, "stages")
    try:
        system.start()
        system.warm_up()
        _reset_statements(system.database_url)
        with _Sampler(system) as sampler:
            race = system.race(CONVERSATIONS, LEGS)
        statements, transactions = _statements(system.database_url, CONVERSATIONS * LEGS)
    finally:
        system.stop()
    # Every sample is a slice of a consumer's time; two consumers together spend 2 s a second.
    counts = sampler.counts
    share = sampler.consumers / race.rate * 1e6 / max(1, sum(counts.values()))
    stages = {name: count * share for name, count in counts.most_common()}
    return Stages(race.rate, stages, statements, CONVERSATIONS * LEGS / max(1, transactions))


def _reset_statements(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("SELECT pg_stat_statements_reset()")


def _statements(url: str, messages: int) -> tuple[list[Statement], int]:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT query, calls, total_exec_time * 1000 FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
            " WHERE d.datname = current_database() ORDER BY 3 DESC LIMIT %s",
            (STATEMENTS_SHOWN,),
        ).fetchall()
        batches = connection.execute(
            "SELECT max(calls) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
            " WHERE d.datname = current_database() AND query LIKE 'INSERT INTO nexus_processed_message%%'"
        ).fetchone()
    statements = [Statement(" ".join(query.split())[:110], calls, spent / messages) for query, calls, spent in found]
    return statements, int(batches[0] or 0) if batches else 0


class _Sampler:
    """Samples the consumer threads of a system's pool processes while it is entered."""

    def __init__(self, system: NexusSystem) -> None:
        self._system = system
        self._running: list[tuple[subprocess.Popen[bytes], Path]] = []
        self.counts: Counter[str] = Counter()
        self.consumers = 0

    def __enter__(self) -> _Sampler:
        for pid in self._system.worker_pids():
            output = self._system.folder / f"samples.{pid}"
            command = [self._system.ground.program("py-spy"), "record", "--pid", str(pid), "--format", "raw"]
            command += ["--rate", str(SAMPLES_A_SECOND), "--duration", "600", "--threads", "--idle"]
            process = subprocess.Popen(
                [*command, "--output", str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            Reaper.shared().watch(process.pid)
            self._running.append((process, output))
        time.sleep(1.0)
        return self

    def __exit__(self, *_: object) -> None:
        for process, output in self._running:
            process.send_signal(signal.SIGINT)
            process.wait(30)
            Reaper.shared().forget(process.pid)
            found = stage_counts(output.read_text().splitlines() if output.exists() else ())
            if found:
                self.consumers += 1
                self.counts += found


def stage_counts(lines: Iterable[str]) -> Counter[str]:
    """Samples by stage.

    Args:
        lines: "frame;frame;frame count", the outermost frame first, as py-spy writes them.
    """
    patterns = [(name, re.compile(pattern)) for name, pattern in STAGES]
    counts: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not any("run (" in frame and "consumer.py" in frame for frame in frames):
            continue
        stage = _stage_of(frames, patterns)
        counts[stage] += int(count)
    return counts


def _stage_of(frames: list[str], patterns: list[tuple[str, re.Pattern[str]]]) -> str:
    for frame in reversed(frames):
        for name, pattern in patterns:
            if pattern.search(frame):
                return name
    return "other"
