"""Private servers on free loopback ports, each in a temporary folder of its own.

They never touch a system-wide server, and they are gone when the process that started them is gone.
"""

from .base import Node, NodeError
from .postgres import PostgresNode
from .rabbitmq import RabbitMQNode
from .redis import RedisNode

__all__ = ["Node", "NodeError", "PostgresNode", "RabbitMQNode", "RedisNode"]
