"""DBOS on PostgreSQL, in its two ways to run a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.systems.base import System


class DbosSteps(System):
    """A workflow for each conversation, a step for each leg."""

    name = "dbos-steps"
    guarantee = "durable steps"
    settings = (
        "2 processes, a queue with worker_concurrency=100, async workflows, polling_interval_sec=0.1",
        "one step a leg",
    )
    mode = "steps"
    workflows = 100

    def prepare(self) -> Mapping[str, str]:
        url = self.ground.new_database(self.tag)
        self.ground.run([self.ground.program("dbos"), "migrate", "--sys-db-url", url], {})
        return {
            "DATABASE_URL": url,
            "BENCH_DBOS": self.mode,
            "BENCH_WORKFLOWS": str(self.workflows),
        }

    def worker_commands(self) -> Sequence[Sequence[str]]:
        return [[self.ground.python, "-m", "bench.apps.dbos_relay", "serve"]] * 2

    def client_command(self) -> Sequence[str]:
        return [self.ground.python, "-m", "bench.apps.dbos_relay"]

    def clean_up(self) -> None:
        self.ground.postgres.drop_database(self.tag)


class DbosMessages(DbosSteps):
    """Two workflows for each conversation, which send messages to each other."""

    name = "dbos-messages"
    guarantee = "durable messages"
    settings = (
        "2 processes, a queue with worker_concurrency=200, async workflows, polling_interval_sec=0.1",
        "DBOS.send and DBOS.recv between two workflows a conversation",
    )
    mode = "messages"
    workflows = 200
    legs = 10
