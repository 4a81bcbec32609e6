"""What Nexus knows about RabbitMQ, beyond moving messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.checks import CheckMessage
from kombu.entity import Exchange
from kombu.entity import Queue as CeleryQueue

from messaging.brokers.kind import BrokerKind, plain_queue
from messaging.brokers.rabbitmq import checks
from messaging.brokers.rabbitmq.broker import RabbitMQBroker
from messaging.brokers.rabbitmq.celery_wire import contain_unreadable_messages
from messaging.brokers.rabbitmq.confirms import limit_confirms
from messaging.brokers.rabbitmq.endpoint import SCHEMES, Endpoint
from messaging.brokers.topology import MAIN_EXCHANGE, Topology

CONFIRM_TIMEOUT = 10.0
TASK_DELIVERY_LIMIT = 20


class RabbitMQKind(BrokerKind):
    """Quorum queues, publisher confirms."""

    title = "RabbitMQ"
    schemes = SCHEMES
    form = "amqp://user:password@host/vhost"
    single_active_consumers = True

    def create(self, url: str, *, topology: Topology, **options: Any) -> RabbitMQBroker:
        return RabbitMQBroker(url, topology=topology, **options)

    def celery_settings(self, url: str, *, folder: Path) -> dict[str, Any]:
        endpoints = [Endpoint.parse(part) for part in url.split(";")]
        settings: dict[str, Any] = {
            "broker_url": url,
            "broker_transport_options": {"confirm_publish": True},  # how long it waits: ``prepare_celery``
        }
        if endpoints[0].tls is not None:
            # By itself Celery would accept any certificate. It knows one name for all nodes: the first one's.
            settings["broker_url"] = ";".join(part.partition("?")[0] for part in url.split(";"))
            settings["broker_use_ssl"] = endpoints[0].tls
        return settings

    def task_queue(self, name: str) -> CeleryQueue:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": TASK_DELIVERY_LIMIT}
        return plain_queue(name, **arguments)

    def message_queues(self, topology: Topology) -> list[CeleryQueue]:
        exchange = Exchange(topology.name(MAIN_EXCHANGE), type="direct")  # type: ignore[no-untyped-call]
        received = {binding.queue for binding in topology.bindings if binding.exchange == exchange.name}
        return [
            CeleryQueue(spec.name, exchange, spec.name, queue_arguments=spec.arguments())  # type: ignore[no-untyped-call]
            for spec in topology.queues
            if spec.name in received
        ]

    def prepare_celery(self) -> None:
        limit_confirms(CONFIRM_TIMEOUT)
        contain_unreadable_messages()

    def check_celery(self, app: Any, own_queues: frozenset[str]) -> list[CheckMessage]:
        return [
            *checks.check_confirms(app),
            *checks.check_queue_types(app, own_queues),
            *checks.check_prefetch(app),
        ]

    def check_server(self, url: str, app: Any) -> list[CheckMessage]:
        return checks.check_server(url, app, self.schemes)
