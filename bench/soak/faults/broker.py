"""RabbitMQ restarts, dies, runs out of memory, and loses what it had."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import amqp

from bench.soak.faults.registry import fault, hold
from bench.soak.site import Site
from messaging.brokers.topology import LEASED_QUEUE, TRANSACTIONAL_QUEUE
from messaging.testing.servers.nodes import RabbitMQNode

SINGLE_NODE_ONLY = {"broker data loss"}


@fault("broker restart")
def restart_broker(site: Site, random: Random) -> int:
    random.choice(site.brokers).restart()
    return 1


@fault("broker kill -9")
def kill_broker(site: Site, random: Random) -> int:
    broker = random.choice(site.brokers)
    broker.sync_metadata()
    broker.kill()
    hold(random.uniform(0.0, 3.0))
    broker.start()
    return 1


@fault("broker data loss")
def lose_broker_data(site: Site, random: Random) -> int:
    broker = site.brokers[0]
    broker.kill()
    broker.wipe_data()
    broker.start()
    return 1


@fault("broker SIGSTOP")
def suspend_broker(site: Site, random: Random) -> int:
    broker = random.choice(site.brokers)
    broker.suspend()
    try:
        hold(random.uniform(1.0, 6.0))
    finally:
        broker.resume()
    return 1


@fault("memory alarm")
def raise_alarm(site: Site, random: Random) -> int:
    broker = random.choice(site.brokers)
    broker.set_memory_watermark(0)
    try:
        hold(random.uniform(1.0, 5.0))
        return int("memory" in broker.rabbitmqctl("eval", "rabbit_alarm:get_alarms()."))
    finally:
        broker.set_memory_watermark(0.4)


@fault("connections closed by the broker")
def close_connections(site: Site, random: Random) -> int:
    count = sum(proxy.connections for proxies in site.broker_proxies.values() for proxy in proxies)
    random.choice(site.brokers).close_all_connections()
    return count


def _on_broker(broker: RabbitMQNode, work: Callable[[amqp.Channel], None]) -> None:
    with amqp.Connection(f"127.0.0.1:{broker.port}", connect_timeout=5, read_timeout=10) as connection:
        work(connection.channel())


@fault("queue deleted")
def delete_queue(site: Site, random: Random) -> int:
    name = random.choice([TRANSACTIONAL_QUEUE, LEASED_QUEUE])
    _on_broker(random.choice(site.brokers), lambda channel: channel.queue_delete(name))
    return 1


@fault("queue purged")
def purge_queue(site: Site, random: Random) -> int:
    name = random.choice([TRANSACTIONAL_QUEUE, LEASED_QUEUE])
    _on_broker(random.choice(site.brokers), lambda channel: channel.queue_purge(name))
    return 1
