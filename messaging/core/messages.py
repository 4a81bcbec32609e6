"""What is asked of a bus, and its receipt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOptions:
    """What a workflow is started with.

    Args:
        name: for people.
        max_messages: most messages that may be sent in it, or None for the settings' limit.
        deadline: seconds after which it expires, or None.
        failure_policy: ``"park"`` or ``"skip"``; None for the settings' own.
        gap_policy: ``"park"``, ``"skip"`` or ``"resend"``; None for the settings' own.
        deduplication_id: starting again with the same one returns the first workflow.
    """

    name: str
    max_messages: int | None = None
    deadline: float | None = None
    failure_policy: str | None = None
    gap_policy: str | None = None
    deduplication_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that is to be sent, before it has a number.

    Args:
        workflow_id: the workflow it belongs to.
        source: sender, an agent's name.
        recipient: an agent's or a group's name.
        type: message type, such as ``"audit.file"``.
        data: any JSON value.
        correlation_id: the request that this replies to.
        causation_id: the message whose handling sends this one.
        deduplication_id: a repeated send with the same one in the same workflow and from the same sender is the first
            message.
        expires_in: seconds after which it is not handled any more, or None.
    """

    workflow_id: UUID
    source: str
    recipient: str
    type: str
    data: Any
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    deduplication_id: str | None = None
    expires_in: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessage:
    """The receipt of a send.

    Args:
        id: the message's id.
        workflow_id: its workflow.
        sequence: its number in the workflow: 1, 2, 3, …
        duplicate: True when its ``deduplication_id`` was used before; id and sequence are then the first message's.
    """

    id: UUID
    workflow_id: UUID
    sequence: int
    duplicate: bool = False
