"""Plain Celery on RabbitMQ, without and with results in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from bench.systems.base import System


class PlainCelery(System):
    """Celery on a quorum queue, at least once, without results."""

    name = "celery"
    legs: ClassVar[int | None] = 15
    guarantee = "at least once"
    settings = (
        "celery worker -P prefork -c 2, quorum queue",
        "task_acks_late, task_reject_on_worker_lost, confirm_publish, worker_prefetch_multiplier=64",
        "task_ignore_result; --without-gossip --without-mingle --without-heartbeat",
    )

    def prepare(self) -> Mapping[str, str]:
        return {"BROKER_URL": self.ground.new_virtual_host(self.tag)}

    def worker_commands(self) -> Sequence[Sequence[str]]:
        worker = [self.ground.program("celery"), "-A", "bench.apps.celery_relay", "worker", "-P", "prefork", "-c", "2"]
        return [[*worker, "--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]]

    def client_command(self) -> Sequence[str]:
        return [self.ground.python, "-m", "bench.apps.celery_relay"]

    def clean_up(self) -> None:
        self.ground.drop_virtual_host(self.tag)


class CeleryWithResults(PlainCelery):
    """The same, with a row of django-celery-results for each task."""

    name = "celery-results"
    legs = 10
    guarantee = "at least once; a result row for each task"
    settings = (
        *PlainCelery.settings[:2],
        "result_backend=django-db (django-celery-results on PostgreSQL), connections kept (CELERY_DB_REUSE_MAX)",
    )

    def prepare(self) -> Mapping[str, str]:
        environment = {
            **super().prepare(),
            "DATABASE_URL": self.ground.new_database(self.tag),
            "DJANGO_SETTINGS_MODULE": "bench.apps.results_settings",
            "BENCH_RESULTS": "1",
        }
        self.ground.run([self.ground.python, "-m", "django", "migrate", "--verbosity", "0"], environment)
        return environment

    def clean_up(self) -> None:
        super().clean_up()
        self.ground.postgres.drop_database(self.tag)
