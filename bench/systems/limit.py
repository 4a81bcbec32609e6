"""The limit: py-amqp, psycopg and a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.systems.base import System
from bench.systems.nexus import TEMPLATE, check_log, migrate


class Limit(System):
    """Writes the same rows into the same tables as Nexus, and does nothing else."""

    name = "limit"
    guarantee = "none of its own: no locks, no checks, no recovery"
    settings = (
        "2 processes of py-amqp and psycopg, prefetch 200, batches of 100",
        "the tables, indexes and constraints of Nexus; one transaction and acknowledgement a batch",
        "what a batch sends is handled in the next one, without the broker",
    )

    def prepare(self) -> Mapping[str, str]:
        migrate(self.ground)
        return {
            "DATABASE_URL": self.ground.new_database(self.tag, template=TEMPLATE),
            "BROKER_URL": self.ground.new_virtual_host(self.tag),
        }

    def worker_commands(self) -> Sequence[Sequence[str]]:
        return [[self.ground.python, "-m", "bench.apps.limit", "consume"]] * 2

    def client_command(self) -> Sequence[str]:
        return [self.ground.python, "-m", "bench.apps.limit"]

    def clean_up(self) -> None:
        self.ground.drop_virtual_host(self.tag)
        self.ground.postgres.drop_database(self.tag)

    def check(self) -> list[str]:
        return check_log(self.ground.postgres.url(self.tag))
