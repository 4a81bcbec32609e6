"""What every system has in common."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from bench.ground import BenchError, Ground
from bench.ledger import PATH_VARIABLE, Ledger, problems
from bench.progress import say, waiting
from tests.support.processes import ROOT, ProcessError, Supervised
from tests.support.waiting import wait_until

START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
RACE_TIMEOUT = 600.0


class System(ABC):
    """A message system with its workers.

    Args:
        ground: where it runs.
        tag: makes its database, virtual host and log files its own.
    """

    #: Its name in tables and files.
    name: ClassVar[str]
    #: How it is set up, for the reader.
    settings: ClassVar[tuple[str, ...]]
    #: Legs of a conversation, where the usual number would take too long; the rate does not depend on it.
    legs: ClassVar[int | None] = None
    #: What it guarantees, in a few words.
    guarantee: ClassVar[str]

    def __init__(self, ground: Ground, tag: str) -> None:
        self.ground = ground
        self.tag = f"{self.name.replace('-', '_')}_{tag}"
        self.folder = ground.folder / self.tag
        self.ledger = Ledger(self.folder / "ledger")
        self._processes: list[Supervised] = []
        self._environment: dict[str, str] = {}

    # --- what each system says for itself ---

    @abstractmethod
    def prepare(self) -> Mapping[str, str]:
        """Make its database or queues; return the environment that its processes need."""

    @abstractmethod
    def worker_commands(self) -> Sequence[Sequence[str]]:
        """The processes that handle messages."""

    @abstractmethod
    def client_command(self) -> Sequence[str]:
        """The process that sends; the race's numbers are put behind it."""

    @abstractmethod
    def clean_up(self) -> None:
        """Remove its database or queues."""

    def check(self) -> list[str]:
        """What its own records say was lost, doubled or reordered."""
        return []

    # --- life ---

    def start(self) -> None:
        """Start the workers and let them handle a little, so that nothing is measured cold."""
        self._environment = self.ground.environment({**self.prepare(), PATH_VARIABLE: str(self.ledger.path)})
        for number, command in enumerate(self.worker_commands()):
            process = Supervised(
                command,
                log_file=self.folder / f"worker{number}.log",
                environment=self._environment,
                name=f"{self.name} worker {number}",
            )
            self._processes.append(process.start())

    def stop(self) -> None:
        """End the workers, and remove what the system made on the servers."""
        for process in self._processes:
            if process.running:
                process.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        for process in self._processes:
            with contextlib.suppress(ProcessError):
                process.wait(max(0.0, deadline - time.monotonic()))
            process.stop()
        self._processes.clear()
        self.clean_up()

    def worker_pids(self) -> list[int]:
        """The process ids of the workers and their children."""
        return [pid for process in self._processes for pid in (process.pid, *process.children())]

    def check_alive(self) -> None:
        """Raise BenchError when a worker ended."""
        for process in self._processes:
            if not process.running:
                raise BenchError(
                    f"{process.name} ended with {process.exit_code}; its log ends:\n{process.log()[-3_000:]}"
                )

    def run_client(self, *arguments: object, timeout: float = RACE_TIMEOUT) -> dict[str, float]:
        """Run the sending process.

        Returns:
            The JSON object that it printed last.
        """
        command = [*self.client_command(), *map(str, arguments)]
        done = subprocess.run(command, env=self._environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise BenchError(f"{self.name}: sending failed with code {done.returncode}:\n{done.stderr[-3_000:]}")
        answer: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    # --- the relay race ---

    def race(self, conversations: int, legs: int, *, first: int = 0, timeout: float = RACE_TIMEOUT) -> float:
        """Run a relay race.

        Args:
            conversations: how many run at once.
            legs: messages of each.
            first: number of the first conversation.
            timeout: seconds until everything must be handled.

        Returns:
            Messages per second, from the first send to the last message handled.

        Raises:
            BenchError: something was lost, doubled or reordered, or took too long.
        """
        self.ledger.clear()
        total = conversations * legs
        started = int(self.run_client(first, conversations, legs)["started"])
        tell = waiting(self.name, lambda: len(self.ledger), total)

        def complete() -> bool:
            tell()
            self.check_alive()
            return len(self.ledger) >= total

        try:
            wait_until(complete, timeout, f"{self.name} to handle {total:,} messages", interval=0.05)
        except AssertionError as error:
            raise BenchError(f"{error}; {self.tail()}") from error
        calls = self.ledger.calls()
        found = problems(calls, range(first, first + conversations), legs)
        if found:
            raise BenchError(f"{self.name}: {', '.join(found)}; {self.tail()}")
        return total / (max(call.time for call in calls) - started) * 1e9

    def tail(self) -> str:
        """The ends of the workers' logs."""
        return "\n".join(f"the log of {process.name} ends:\n{process.log()[-1_500:]}" for process in self._processes)


def wait_a_moment(seconds: float) -> None:
    """Let the machine come to rest between two measurements."""
    time.sleep(seconds)


def run_once(system: System, conversations: int, legs: int) -> float:
    """Start a system, run one race on it, and stop it.

    Returns:
        Messages per second.
    """
    try:
        system.start()
        system.race(WARM_CONVERSATIONS, min(legs, WARM_LEGS), first=1_000_000)
        system.ground.settle()
        wait_a_moment(0.5)
        rate = system.race(conversations, legs)
        found = system.check()
        if found:
            raise BenchError(f"{system.name}: {', '.join(found)}")
    finally:
        system.stop()
    say(f"{system.name}: {rate:,.0f} messages/s")
    return rate


WARM_CONVERSATIONS = 40
WARM_LEGS = 10
