"""Long life: ``python -m bench.endurance`` has a million messages handled while processes are killed.

With ``--pile-up`` 200,000 wait with no worker, then one comes. Private servers; a summary is kept in var/endurance.

What was lost, doubled or reordered is counted in the log: each handled message of a conversation sends the next, so a
handler whose effect counted twice leaves one message too many, and a lost one ends its conversation.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench import venv
from bench.cpu import resident
from bench.ground import BenchError, BenchServers
from bench.ledger import Call
from bench.paths import ROOT
from bench.progress import fail, say
from bench.systems.nexus import NexusSystem
from messaging.testing.servers.processes import Supervised

OUTPUT = ROOT / "var" / "endurance"
CONVERSATIONS = 200
KILLS = (5.0, 40.0)
"""Seconds between two kills."""
WINDOW = 5.0
"""Seconds of which a rate is taken."""
TIMEOUT = 840.0
SETTLED = 60.0
EDGE = 0.2
"""Share of the time that counts as the beginning, and as the end."""


class Enduring(NexusSystem):
    """Nexus whose processes are started again whenever they end, as a process manager does."""

    name = "nexus-endurance"

    def start(self) -> None:
        self.prepare_only()
        for number, command in enumerate(self.worker_commands()):
            log = self.folder / f"worker{number}.log"
            process = Supervised(command, log_file=log, environment=self._environment, name=f"part {number}")
            self._processes.append(process.keep_running())

    def check_alive(self) -> None:
        """It may be dead just now."""

    def pids(self) -> list[int]:
        """The processes of the worker that live just now."""
        worker = self._processes[0]
        return worker.children() if worker.running else []

    def kill(self, chance: random.Random) -> str:
        """Kill -9 a pool process, a whole worker, or the relay; say which."""
        worker, relay = self._processes
        what = chance.choice(("a pool process", "a pool process", "the worker", "the relay"))
        children = worker.children() if worker.running else []
        if what == "a pool process" and children:
            os.kill(chance.choice(children), signal.SIGKILL)
        else:
            (relay if what == "the relay" else worker).kill()
        return what


@dataclass(slots=True)
class Samples:
    """What was seen every half second.

    Args:
        handled: (seconds, calls of handlers so far).
        memory: (seconds, MB of the largest process of the workers).
        descriptors: (seconds, open files of the one that has most).
    """

    handled: list[tuple[float, float]] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    descriptors: list[tuple[float, float]] = field(default_factory=list)

    def take(self, seconds: float, handled: int, pids: list[int]) -> None:
        """Look once."""
        self.handled.append((seconds, handled))
        self.memory.append((seconds, max((resident(pid) for pid in pids), default=0.0)))
        self.descriptors.append((seconds, max((_open_files(pid) for pid in pids), default=0.0)))

    def rates(self) -> list[tuple[float, float]]:
        """(seconds, messages per second) of each window."""
        found = []
        begun, before = self.handled[0]
        for seconds, handled in self.handled:
            if seconds - begun >= WINDOW:
                found.append((seconds, (handled - before) / (seconds - begun)))
                begun, before = seconds, handled
        return found


def edges(series: list[tuple[float, float]]) -> tuple[float, float]:
    """Medians of a series at the beginning and at the end."""
    length = max(1, int(len(series) * EDGE))
    values = [value for _, value in series]
    return statistics.median(values[:length]), statistics.median(values[-length:])


def million(ground: BenchServers, messages: int, seed: int) -> dict[str, Any]:
    """Have so many messages handled while processes are killed.

    Raises:
        BenchError: it took too long, or the log shows that something went wrong.
    """
    chance, system, samples = random.Random(seed), Enduring(ground, "million"), Samples()
    legs = messages // CONVERSATIONS
    total = legs * CONVERSATIONS
    kills: list[str] = []
    try:
        system.start()
        system.warm_up()
        system.ledger.clear()
        with system.client("race", 0, CONVERSATIONS, legs) as client:
            client.go(60)
            began, due, told = time.monotonic(), chance.uniform(*KILLS), 0
            while (seconds := time.monotonic() - began) < TIMEOUT:
                handled = len(system.ledger)
                samples.take(seconds, handled, system.pids())
                if handled >= total and _processed(system.database_url) >= total:
                    break
                if handled - told >= 50_000:
                    told = handled
                    say(f"{handled:,} of {total:,} calls, {len(kills)} kills")
                if seconds >= due and handled < total:
                    kills.append(system.kill(chance))
                    due = seconds + chance.uniform(*KILLS)
                time.sleep(0.5)
        wrong = system.check()
        made = _messages(system.database_url)
        if made != total:
            wrong.append(f"{made:,} messages instead of {total:,}")
        if wrong:
            raise BenchError(f"after {len(kills)} kills: {', '.join(wrong)}; {system.tail()}")
    finally:
        system.stop()
    begin, end = edges([one for one in samples.rates() if one[1]])
    memory, descriptors = edges(samples.memory), edges(samples.descriptors)
    return {
        "messages": total,
        "seed": seed,
        "kills": len(kills),
        "calls repeated after a kill": samples.handled[-1][1] - total,
        "seconds": round(seconds, 1),
        "messages/s at the beginning, end, ratio": [round(begin), round(end), round(end / begin, 3)],
        "MB of the largest worker process": [round(value, 1) for value in memory],
        "open files of a worker process": list(descriptors),
    }


def pile_up(ground: BenchServers, messages: int) -> dict[str, Any]:
    """Send so many messages with no worker, then start one with one process.

    Raises:
        BenchError: it took too long, or something was lost, doubled or reordered.
    """
    system = NexusSystem(ground, "pile", processes=1)
    try:
        system.prepare_only()
        with system.client("bulk", messages) as client:
            began = time.monotonic()
            client.go(TIMEOUT)
            sent = time.monotonic() - began
            say(f"{messages:,} messages wait after {sent:.0f} s; starting one worker with one process")
            for number, command in enumerate(system.worker_commands()):
                log = system.folder / f"worker{number}.log"
                process = Supervised(command, log_file=log, environment=system._environment, name=f"part {number}")
                system._processes.append(process.start())
            began, told = time.monotonic(), 0
            while (handled := len(system.ledger)) <= messages:  # one more made the connections
                system.check_alive()
                if handled - told >= 50_000:
                    told = handled
                    say(f"{handled:,} of {messages:,} handled")
                if time.monotonic() - began > TIMEOUT:
                    raise BenchError(f"only {handled:,} of {messages:,} messages were handled; {system.tail()}")
                time.sleep(0.2)
            took = time.monotonic() - began
        wrong = system.check() + _disorder(system.ledger.calls(), messages)
        if wrong:
            raise BenchError(f"{', '.join(wrong)}; {system.tail()}")
    finally:
        system.stop()
    return {"messages": messages, "seconds to send": round(sent, 1), "seconds to drain": round(took, 1)}


def _disorder(calls: list[Call], messages: int) -> list[str]:
    """What was lost, doubled or reordered; message k is in workflow k modulo 200."""
    numbers = [call.conversation for call in calls][1:]
    wrong = [] if sorted(numbers) == list(range(messages)) else ["some were lost or doubled"]
    last: dict[int, int] = {}
    for number in numbers:
        if number < last.get(number % CONVERSATIONS, -1):
            wrong.append(f"message {number:,} came out of order")
            break
        last[number % CONVERSATIONS] = number
    return wrong


def _processed(url: str) -> int:
    return _count(url, "SELECT count(*) FROM nexus_delivery WHERE state = 'processed'") - _warm(url)


def _messages(url: str) -> int:
    return _count(url, "SELECT count(*) FROM nexus_message") - _warm(url)


def _warm(url: str) -> int:
    """Messages of the race that warmed the workers up."""
    return _count(
        url,
        "SELECT count(*) FROM nexus_message WHERE workflow_id IN"
        " (SELECT id FROM nexus_workflow ORDER BY created_at, id LIMIT 40)",
    )


def _count(url: str, statement: str) -> int:
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return int(row[0]) if row else 0


def _open_files(pid: int) -> float:
    try:
        return float(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0.0


def main() -> int:
    """Run what the command line asks for; 1 when something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.endurance", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="(1_000_000; with --pile-up 200_000)")
    parser.add_argument("--seed", type=int, default=1, help="of the kills (1)")
    parser.add_argument("--pile-up", action="store_true", help="let them wait for one worker, and kill nothing")
    arguments = parser.parse_args()
    try:
        with BenchServers(venv.make_venv(), OUTPUT / "run") as ground:
            if arguments.pile_up:
                count = 200_000 if arguments.messages == 1_000_000 else arguments.messages
                summary = pile_up(ground, count)
            else:
                summary = million(ground, arguments.messages, arguments.seed)
    except BenchError as error:
        fail(str(error))
        return 1
    text = json.dumps(summary, indent=2)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / ("pile-up.json" if arguments.pile_up else "million.json")).write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
