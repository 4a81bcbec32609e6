"""The tables, one concept a file."""

from nexus_a2a.models.task import A2ATask

__all__ = ["A2ATask"]
