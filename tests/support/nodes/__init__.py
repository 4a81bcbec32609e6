"""Private servers on free loopback ports, each in a temporary folder of its own.

They never touch a system-wide server, and they are gone when the process that started them is gone.
"""

from tests.support.nodes.base import Node, NodeError
from tests.support.nodes.pgbouncer import PgBouncerNode
from tests.support.nodes.postgres import PostgresNode
from tests.support.nodes.rabbitmq import RabbitMQNode
from tests.support.nodes.redis import RedisNode

__all__ = ["Node", "NodeError", "PgBouncerNode", "PostgresNode", "RabbitMQNode", "RedisNode"]
