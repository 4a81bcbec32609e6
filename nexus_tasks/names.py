"""What tasks are called in messages, and which agent a queue is."""

from __future__ import annotations

KEEPER = "nexus-tasks"
"""The agent that sends tasks to their queues, and completes the workflow of each that succeeded."""

RUN = "task.run"
DONE = "task.run.reply"


def agent_of(alias: str, queue: str) -> str:
    """The agent that runs the tasks of a queue.

    Args:
        alias: of the backend, a key of ``TASKS``.
        queue: its name.
    """
    return f"tasks.{alias}.{queue}"
