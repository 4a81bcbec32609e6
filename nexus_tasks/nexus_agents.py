"""Registers the agents that run tasks."""

from nexus_tasks.queues import register_queues

register_queues()
