"""A kind of broker: all that the rest of Nexus has to know about RabbitMQ, the embedded broker and whatever comes.

Each kind stands in the folder of its broker; ``KINDS`` in ``messaging.brokers`` lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from django.core.checks import CheckMessage
from kombu.entity import Queue as CeleryQueue

from messaging.brokers.base import MessageBroker
from messaging.brokers.topology import Topology


def plain_queue(name: str, **arguments: Any) -> CeleryQueue:
    """Declare a queue for Celery. With a routing key of its own: Celery would give it the default queue's.

    Args:
        name: of the queue.
        arguments: with which it is declared on the broker.
    """
    return CeleryQueue(name, routing_key=name, queue_arguments=arguments or None)  # type: ignore[no-untyped-call]


class BrokerKind(ABC):
    """One kind of broker. What a new kind need not say has a default here that is right for a server of any sort."""

    title: ClassVar[str]
    """What errors and checks call it, such as "RabbitMQ"."""
    schemes: ClassVar[tuple[str, ...]]
    """What its URLs begin with, without ``://``."""
    form: ClassVar[str]
    """An example of its URLs, for error messages."""
    single_active_consumers: ClassVar[bool] = False
    """Whether its queues can have one: without it, queues are not divided into partitions."""
    needs_server: ClassVar[bool] = True
    """Whether other hosts can take part: with it, Nexus insists on a real database and a secret key."""

    @abstractmethod
    def create(self, url: str, *, topology: Topology, **options: Any) -> MessageBroker:
        """Return the broker that a URL names. Opens no connection.

        Args:
            url: with one of ``schemes``.
            topology: what its ``initialize()`` creates.
            options: further arguments of the broker's class.

        Raises:
            ConfigurationError: the URL is incomplete or malformed.
        """

    def celery_settings(self, url: str, *, folder: Path) -> dict[str, Any]:
        """Settings of Celery, in lower case, with which its tasks travel beside the messages.

        Args:
            url: of the broker.
            folder: for files of this installation.
        """
        return {"broker_url": url}

    def task_queue(self, name: str) -> CeleryQueue:
        """Declare the queue of operators' tasks, for a Celery that uses this kind of broker."""
        return plain_queue(name)

    def message_queues(self, topology: Topology) -> list[CeleryQueue]:
        """Declare the queues of messages for Celery, if a stock worker (``-Q``) can read them."""
        return []

    def prepare_celery(self) -> None:  # noqa: B027 - most kinds have nothing to correct
        """Correct what Celery does with this kind of broker in this process. May be called again."""

    def check_celery(self, app: Any, own_queues: frozenset[str]) -> list[CheckMessage]:
        """Check how Celery uses a broker of this kind, without asking it.

        Args:
            app: of Celery.
            own_queues: names of those of its queues that belong to Nexus.
        """
        return []

    def check_server(self, url: str, app: Any) -> list[CheckMessage]:
        """Ask the broker whether it is one that Nexus is safe on.

        Args:
            url: of the broker, which answered a moment ago.
            app: of Celery, which may use this broker or another one.
        """
        return []
