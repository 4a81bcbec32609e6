"""The broker of production: RabbitMQ."""

from messaging.brokers.rabbitmq.broker import RabbitMQBroker

__all__ = ["RabbitMQBroker"]
