"""Private servers on free loopback ports, each in a temporary folder of its own.

They never touch a system-wide server, and they are gone when the process that started them is gone.
"""

from messaging.testing.servers.nodes.base import Node, NodeError
from messaging.testing.servers.nodes.pgbouncer import PgBouncerNode
from messaging.testing.servers.nodes.postgres import PostgresNode
from messaging.testing.servers.nodes.rabbitmq import RabbitMQNode
from messaging.testing.servers.nodes.redis import RedisNode
from messaging.testing.servers.nodes.standby import StandbyNode

__all__ = ["Node", "NodeError", "PgBouncerNode", "PostgresNode", "RabbitMQNode", "RedisNode", "StandbyNode"]
