"""What every system has in common."""

from __future__ import annotations

import contextlib
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bench.cpu import Meter, Used
from bench.ground import BenchError, BenchServers
from bench.ledger import PATH_VARIABLE, Ledger, problems
from bench.progress import say, waiting
from bench.systems.client import Client
from messaging.testing.servers.processes import ProcessError, Supervised
from messaging.testing.servers.waiting import wait_until

STOP_TIMEOUT = 20.0
RACE_TIMEOUT = 600.0
WARM_CONVERSATIONS = 40
WARM_LEGS = 10
WARM_FIRST = 1_000_000  # its conversations have other numbers than those that are measured


@dataclass(frozen=True, slots=True)
class Race:
    """What a race gave.

    Args:
        messages: how many were handled.
        rate: messages per second, from the first send to the last message handled.
        used: processor time.
    """

    messages: int
    rate: float
    used: Used

    def figures(self) -> dict[str, float]:
        """For the report."""
        return {"messages/s": self.rate, **self.used.figures(self.messages)}


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

    def __init__(self, ground: BenchServers, tag: str) -> None:
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
        """Start the workers."""
        self.prepare_only()
        for number, command in enumerate(self.worker_commands()):
            process = Supervised(
                command,
                log_file=self.folder / f"worker{number}.log",
                environment=self._environment,
                name=f"{self.name} worker {number}",
            )
            self._processes.append(process.start())

    def prepare_only(self) -> None:
        """Make its database or queues and start no workers: only the client is to be run."""
        self._environment = self.ground.environment({**self.prepare(), PATH_VARIABLE: str(self.ledger.path)})

    def warm_up(self) -> None:
        """Let the workers handle a little, so that nothing is measured cold."""
        self.race(WARM_CONVERSATIONS, WARM_LEGS, first=WARM_FIRST)
        self.ground.settle()
        time.sleep(0.5)

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

    def client(self, *arguments: object) -> Client:
        """The sending process, with arguments behind its command."""
        command = [*self.client_command(), *map(str, arguments)]
        return Client(command, self._environment, self.folder / "client.log")

    # --- the relay race ---

    def race(self, conversations: int, legs: int, *, first: int = 0, timeout: float = RACE_TIMEOUT) -> Race:
        """Run a relay race.

        Args:
            conversations: how many run at once.
            legs: messages of each.
            first: number of the first conversation.
            timeout: seconds until everything must be handled.

        Raises:
            BenchError: something was lost, doubled or reordered, or took too long.
        """
        self.ledger.clear()
        total = conversations * legs
        tell = waiting(self.name, lambda: len(self.ledger), total)
        with self.client("race", first, conversations, legs) as client:

            def complete() -> bool:
                tell()
                self.check_alive()
                client.check_alive()
                return len(self.ledger) >= total

            meter, began = Meter(self.parts(client)), time.monotonic()
            started = int(client.go(timeout)["started"])
            try:
                wait_until(complete, timeout, f"{self.name} to handle {total:,} messages", interval=0.05)
            except AssertionError as error:
                raise BenchError(f"{error}; {self.tail()}") from error
            used = meter.read(time.monotonic() - began)
        calls = self.ledger.calls()
        found = problems(calls, range(first, first + conversations), legs)
        if found:
            raise BenchError(f"{self.name}: {', '.join(found)}; {self.tail()}")
        return Race(
            messages=total,
            rate=total / (max(call.time for call in calls) - started) * 1e9,
            used=used,
        )

    def parts(self, client: Client) -> dict[str, list[int]]:
        """Root processes for the meter."""
        return {
            "workers": [process.pid for process in self._processes],
            "client": [client.pid],
            "postgresql": [self.ground.postgres.pid],
            "rabbitmq": [self.ground.rabbitmq.pid],
        }

    def tail(self) -> str:
        """The ends of the workers' logs."""
        return "\n".join(f"the log of {process.name} ends:\n{process.log()[-1_500:]}" for process in self._processes)


def run_once(system: System, conversations: int, legs: int) -> Race:
    """Start a system, run one race on it, and stop it."""
    try:
        system.start()
        system.warm_up()
        race = system.race(conversations, legs)
        found = system.check()
        found += problems(system.ledger.calls(), range(conversations), legs)
        if found:
            raise BenchError(f"{system.name}: {', '.join(found)}; {system.tail()}")
    finally:
        system.stop()
    say(f"{system.name}: {', '.join(f'{name} {value:,.3g}' for name, value in race.figures().items())}")
    return race
