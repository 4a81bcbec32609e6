"""Partitions: which of several queues a workflow's deliveries go to."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID
from zlib import crc32

MAX_PARTITIONS = 64


def partition_of(workflow_id: UUID, partitions: int) -> int:
    """The partition of a workflow: the CRC-32 (that of zlib and PNG) of its id's 16 bytes, modulo the partitions.

    Publishers of all versions and hosts must agree on it; docs/configuration.md states it.

    Args:
        workflow_id: of the workflow.
        partitions: how many there are; at least 1.
    """
    return crc32(workflow_id.bytes) % partitions


def owner_of(partition: int, consumers: Sequence[UUID]) -> UUID:
    """The consumer that is to read a partition: shares differ by one partition at most.

    Args:
        partition: its number.
        consumers: ids of all consumers at work; at least one.
    """
    return sorted(consumers)[partition % len(consumers)]
