"""Dramatiq on RabbitMQ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.systems.base import System


class Dramatiq(System):
    """With publisher confirms; its queues are classic ones, it cannot declare quorum queues."""

    name = "dramatiq"
    guarantee = "at least once"
    settings = (
        "dramatiq --processes 2 --threads 8, RabbitmqBroker(confirm_delivery=True)",
        "durable classic queue (it declares no quorum queues), default middleware, no results",
    )

    def prepare(self) -> Mapping[str, str]:
        return {"BROKER_URL": self.ground.new_virtual_host(self.tag)}

    def worker_commands(self) -> Sequence[Sequence[str]]:
        return [[self.ground.program("dramatiq"), "--processes", "2", "--threads", "8", "bench.apps.dramatiq_relay"]]

    def client_command(self) -> Sequence[str]:
        return [self.ground.python, "-m", "bench.apps.dramatiq_relay"]

    def clean_up(self) -> None:
        self.ground.drop_virtual_host(self.tag)
