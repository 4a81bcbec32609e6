"""Confirms that never come: nothing waits for them for ever."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from amqp.exceptions import RecoverableConnectionError
from kombu.connection import Connection
from kombu.transport.pyamqp import Channel

from messaging.brokers import Confirmation, OutgoingMessage, QueueSpec, RabbitMQBroker
from messaging.brokers.rabbitmq import publishing
from messaging.brokers.rabbitmq.confirms import limit_confirms
from messaging.brokers.rabbitmq.kind import CONFIRM_TIMEOUT
from messaging.testing.servers.nodes import RabbitMQNode
from messaging.testing.servers.tcp_proxy import TcpProxy
from messaging.testing.servers.waiting import wait_until


@pytest.fixture
def proxy(rabbitmq: RabbitMQNode) -> Iterator[TcpProxy]:
    with TcpProxy(rabbitmq.port, amqp=True) as proxy:
        yield proxy


@pytest.fixture
def url(proxy: TcpProxy, rabbitmq_url: str) -> str:
    return rabbitmq_url.replace(f":{urlsplit(rabbitmq_url).port}/", f":{proxy.port}/")


@pytest.fixture
def limit() -> Iterator[float]:
    kept = Channel.basic_publish_confirm
    limit_confirms(0.5)
    yield 0.5
    Channel.basic_publish_confirm = kept


def test_celery_gives_up_waiting(proxy: TcpProxy, url: str, limit: float) -> None:
    with Connection(url, transport_options={"confirm_publish": True}) as connection:  # type: ignore[no-untyped-call]
        producer = connection.Producer()
        producer.publish("one", routing_key="nowhere")
        proxy.drop_confirms(True)
        with pytest.raises(RecoverableConnectionError, match="did not confirm"):  # without a limit it waits for ever
            producer.publish("two", routing_key="nowhere")
    assert limit < CONFIRM_TIMEOUT


def test_a_connection_that_loses_confirms_is_replaced(
    proxy: TcpProxy, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_MAX_SILENCE", 0.5)
    with RabbitMQBroker(url) as broker:
        broker.create_queue(QueueSpec(name="q"))
        message = OutgoingMessage(id="a", body=b"", exchange="", routing_key="q", headers={})
        assert broker.publish(message, timeout=5) is Confirmation.CONFIRMED
        proxy.drop_confirms(True)
        broker.publish_begin([message])
        found: dict[str, Confirmation] = {}

        def known() -> bool:
            found.update(broker.publish_collect(0.1))
            return bool(found)

        wait_until(known, 10, "the silence to be noticed")
        assert found == {"a": Confirmation.UNKNOWN}
        assert broker.outstanding == 0
        proxy.drop_confirms(False)
        assert broker.publish(message, timeout=5) is Confirmation.CONFIRMED


def test_a_burst_that_was_given_up_does_not_stay_outstanding(proxy: TcpProxy, url: str) -> None:
    with RabbitMQBroker(url) as broker:
        broker.create_queue(QueueSpec(name="q"))
        message = OutgoingMessage(id="a", body=b"", exchange="", routing_key="q", headers={})
        proxy.drop_confirms(True)
        assert broker.publish(message, timeout=0.3) is Confirmation.UNKNOWN
        proxy.drop_confirms(False)
        assert broker.publish(message, timeout=5) is Confirmation.CONFIRMED
