"""The private servers do what the reliability tests rely on."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import amqp
import psycopg
import pytest

from messaging.testing.servers import proctree
from messaging.testing.servers.nodes import Node, NodeError, PostgresNode, RabbitMQNode, RedisNode
from messaging.testing.servers.waiting import wait_until
from tests.support.services import require

ROOT = Path(__file__).resolve().parents[2]


def _redis(node: RedisNode, *words: str) -> bytes:
    with socket.create_connection(("127.0.0.1", node.port), timeout=5) as connection:
        connection.sendall(" ".join(words).encode() + b"\r\n")
        return connection.recv(1024)


def _publish_durably(node: RabbitMQNode, queue: str, count: int) -> None:
    with amqp.Connection(f"127.0.0.1:{node.port}", confirm_publish=True, read_timeout=20) as connection:
        channel = connection.channel()
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        for number in range(count):
            channel.basic_publish(amqp.Message(str(number), delivery_mode=2), routing_key=queue)


def _drain(node: RabbitMQNode, queue: str) -> int:
    """Take every message of a queue; -1 while the queue does not exist."""
    with amqp.Connection(f"127.0.0.1:{node.port}", read_timeout=20) as connection:
        channel = connection.channel()
        try:
            channel.queue_declare(queue, passive=True)
        except amqp.NotFound:
            return -1
        taken = 0
        while channel.basic_get(queue, no_ack=True) is not None:
            taken += 1
        return taken


@pytest.mark.whole
@pytest.mark.timeout(180)
def test_rabbitmq_survives_kill_with_its_messages_and_loses_them_with_its_disk() -> None:
    require(RabbitMQNode)
    with RabbitMQNode() as node:
        port = node.port
        _publish_durably(node, "kept", 20)
        node.sync_metadata()
        node.kill()
        assert not node.running
        node.start()
        assert node.port == port
        recovered = 0

        def all_recovered() -> bool:
            nonlocal recovered
            recovered += max(0, _drain(node, "kept"))
            return recovered == 20

        wait_until(all_recovered, 30, lambda: f"20 messages, got {recovered}", ignoring=(amqp.AMQPError, OSError))
        with pytest.raises(NodeError, match="is running"):
            node.wipe_data()
        node.kill()
        node.wipe_data()
        node.start()
        assert _drain(node, "kept") == -1


def test_rabbitmq_virtual_hosts_are_empty_and_usable(rabbitmq: RabbitMQNode, rabbitmq_url: str) -> None:
    name = rabbitmq_url.rpartition("/")[2]
    with amqp.Connection(f"127.0.0.1:{rabbitmq.port}", virtual_host=name) as connection:
        connection.channel().queue_declare("here")
    assert rabbitmq.rabbitmqctl("list_queues", "--vhost", name, "name").split() == ["name", "here"]


def test_rabbitmqctl_reports_failure(rabbitmq: RabbitMQNode) -> None:
    with pytest.raises(NodeError, match="no_such_command"):
        rabbitmq.rabbitmqctl("no_such_command")


@pytest.mark.whole
def test_postgres_survives_kill_with_its_rows_and_loses_them_with_its_disk() -> None:
    require(PostgresNode)
    with PostgresNode() as node:
        url = node.create_database("log")
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        node.kill()
        node.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (1000,)
        node.kill()
        node.wipe_data()
        node.start()
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(url)


def test_postgres_suspended_is_silent_and_answers_when_resumed(postgres: PostgresNode) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        postgres.suspend()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(postgres.url(), connect_timeout=2)
        postgres.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_redis_durable_survives_kill() -> None:
    require(RedisNode)
    with RedisNode(durable=True) as node:
        assert _redis(node, "SET", "k", "v") == b"+OK\r\n"
        node.kill()
        node.start()
        assert b"v" in _redis(node, "GET", "k")
        assert node.restart() < 30


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_nothing_is_left_when_the_owner_is_killed(how: str) -> None:
    require(RedisNode)
    script = (
        "from messaging.testing.servers.nodes import RedisNode\n"
        "node = RedisNode().start()\n"
        "print(node.pid, node.folder, flush=True)\n"
        "input()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        assert proctree.is_alive(int(pid))
        getattr(owner, how)()
        owner.wait(10)
        wait_until(lambda: not proctree.is_alive(int(pid)), 10, "the server to be killed")
        wait_until(lambda: not Path(folder).exists(), 10, "its folder to be removed")


@pytest.mark.parametrize("node", [RabbitMQNode, PostgresNode, RedisNode])
def test_ports_lie_below_the_ephemeral_range(node: type[Node]) -> None:
    require(node)
    made = node()
    try:
        assert made.port < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    finally:
        made.remove()
