"""What a handler gets beside its message."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from messaging.core.envelope import Envelope
from messaging.core.messages import Outgoing


@dataclass(slots=True, kw_only=True)
class HandlerContext:
    """Handed to a handler with its message.

    What is sent through it is stored together with the handler's own database changes, or not at all.

    Args:
        message: the message that is handled.
        agent: name of the agent that handles it.
        delivery_id: id of the delivery.
        attempt: 1 for the first try.
    """

    message: Envelope
    agent: str
    delivery_id: UUID
    attempt: int = 1
    outgoing: list[Outgoing] = field(default_factory=list)

    @property
    def workflow_id(self) -> UUID:
        return self.message.workflow_id

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(f"nexus.agent.{self.agent}")

    def send(
        self,
        recipient: str,
        type: str,
        data: Any = None,
        *,
        deduplication_id: str | None = None,
        expires_in: float | None = None,
    ) -> None:
        """Send to an agent or a group once this handler has succeeded.

        Args:
            recipient: an agent's or a group's name.
            type: message type.
            data: any JSON value.
            deduplication_id: see ``Outgoing``.
            expires_in: seconds, or None.
        """
        self.outgoing.append(
            Outgoing(
                workflow_id=self.workflow_id,
                source=self.agent,
                recipient=recipient,
                type=type,
                data=data,
                causation_id=self.message.message_id,
                deduplication_id=deduplication_id,
                expires_in=expires_in,
            )
        )

    def send_many(self, recipient: str, type: str, items: Sequence[Any]) -> None:
        """Send one message for each item."""
        for item in items:
            self.send(recipient, type, item)

    def reply(self, data: Any = None, *, type: str | None = None) -> None:
        """Answer the sender; a ``request()`` that waits gets this.

        Args:
            data: any JSON value.
            type: message type; the request's own type with ``.reply`` behind it by default.
        """
        message = self.message
        self.outgoing.append(
            Outgoing(
                workflow_id=self.workflow_id,
                source=self.agent,
                recipient=message.source,
                type=type or f"{message.type}.reply",
                data=data,
                causation_id=message.message_id,
                correlation_id=message.message_id,
            )
        )
