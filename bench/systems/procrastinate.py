"""Procrastinate on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.systems.base import System

APP = "bench.apps.procrastinate_relay.app"


class Procrastinate(System):
    """Async workers with LISTEN/NOTIFY."""

    name = "procrastinate"
    guarantee = "at least once"
    settings = (
        "2 procrastinate workers with --concurrency 20, PsycopgConnector, LISTEN/NOTIFY on",
        "async tasks, finished jobs kept (the default)",
    )

    def prepare(self) -> Mapping[str, str]:
        environment = {"DATABASE_URL": self.ground.new_database(self.tag)}
        self.ground.run([self.ground.program("procrastinate"), "--app", APP, "schema", "--apply"], environment)
        return environment

    def worker_commands(self) -> Sequence[Sequence[str]]:
        return [[self.ground.program("procrastinate"), "--app", APP, "worker", "--concurrency", "20"]] * 2

    def client_command(self) -> Sequence[str]:
        return [self.ground.python, "-m", "bench.apps.procrastinate_relay"]

    def clean_up(self) -> None:
        self.ground.postgres.drop_database(self.tag)
