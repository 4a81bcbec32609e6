"""What a handler gets beside its message."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, overload
from uuid import UUID

import msgspec

from messaging.core.envelope import Envelope
from messaging.core.errors import EnvelopeError, TerminalError
from messaging.core.extraction import Extraction
from messaging.core.labels import NO_LABELS, Labels
from messaging.core.messages import Outgoing
from messaging.core.once import ResultStore, call_once
from messaging.core.plain_data import encode_data

Value = TypeVar("Value")

MAX_STATE_BYTES = 1_048_576


def _no_state() -> dict[str, Any]:
    return {}


@dataclass(slots=True, kw_only=True)
class HandlerContext:
    """Handed to a handler with its message.

    What is sent through it, and what it changes in ``state``, is stored together with the handler's own database
    changes, or not at all.

    Args:
        message: the message that is handled.
        agent: name of the agent that handles it.
        delivery_id: id of the delivery.
        attempt: 1 for the first try.
        deadline: when the handler has to be done: the earliest of its workflow's deadline, the message's expiry and the
            agent's timeout; None without any.
        original: where verification had ``message`` cleaned, the message as it was signed; otherwise None.
        results: where ``once`` keeps results; None in a transactional handler.
        labels: of all that it knows: of the message, and of what the agent handled before in this workflow.
        load_state: reads what ``state`` was when the agent's last message in this workflow was done.
    """

    message: Envelope
    agent: str
    delivery_id: UUID
    attempt: int = 1
    deadline: datetime | None = None
    original: Envelope | None = field(default=None, repr=False)
    outgoing: list[Outgoing] = field(default_factory=list)
    results: ResultStore | None = field(default=None, repr=False)
    labels: Labels = NO_LABELS
    load_state: Callable[[], dict[str, Any]] = field(default=_no_state, repr=False)
    _state: dict[str, Any] | None = field(default=None, init=False, repr=False)
    _state_before: bytes = field(default=b"", init=False, repr=False)
    _keys: set[str] = field(default_factory=set, init=False, repr=False)

    @property
    def workflow_id(self) -> UUID:
        return self.message.workflow_id

    @property
    def logger(self) -> logging.Logger:
        return logging.getLogger(f"nexus.agent.{self.agent}")

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline, 0.0 at least; None without one."""
        if self.deadline is None:
            return None
        return max(0.0, (self.deadline - datetime.now(UTC)).total_seconds())

    @property
    def state(self) -> dict[str, Any]:
        """What this agent remembers of this workflow: a JSON object. Change it in place; success stores it."""
        if self._state is None:
            self._state = self.load_state()
            self._state_before = msgspec.json.encode(self._state)
        return self._state

    def changed_state(self) -> dict[str, Any] | None:
        """The state if the handler changed it, otherwise None.

        Raises:
            TerminalError: it is no JSON object, or too large.
        """
        if self._state is None:
            return None
        try:
            encoded = encode_data(self._state)
        except EnvelopeError as error:
            raise TerminalError(
                f"The state of {self.agent} is no JSON object: {error}. Keep JSON values in it."
            ) from None
        if encoded == self._state_before:
            return None
        if len(encoded) > MAX_STATE_BYTES:
            raise TerminalError(
                f"The state of {self.agent} has {len(encoded)} bytes and may have {MAX_STATE_BYTES}. Drop what is "
                "old, or keep it in a table of your own."
            )
        decoded: dict[str, Any] = msgspec.json.decode(encoded)
        return decoded

    @overload
    def once(self, key: str, fn: Callable[[], Coroutine[Any, Any, Value]]) -> Awaitable[Value]: ...
    @overload
    def once(self, key: str, fn: Callable[[], Value]) -> Value: ...
    def once(self, key: str, fn: Callable[[], Any]) -> Any:
        """Call ``fn`` and store what it returns, so that a redelivery of this message gets the result without the call.

        The result is stored in a short transaction of its own, right after ``fn`` returned. A worker that dies before
        that repeats the call; so ``fn`` runs at least once, and once only unless there was a crash in mid-call.

        Args:
            key: names the call within this delivery, such as ``"charge"``; each key is used once.
            fn: makes the call and returns a JSON value. In an async handler an async function; await ``once`` then.

        Raises:
            TerminalError: used by a transactional agent, with a key that was used already, or the result is no JSON
                value.
        """
        if self.results is None:
            raise TerminalError(
                f"{self.agent} is transactional: a result stored with its transaction would be lost by just the "
                "failure that once() is for. Make the agent leased (kind=HandlerKind.LEASED)."
            )
        if key in self._keys:
            raise TerminalError(f"once({key!r}) was called before in this handler. Give every call a key of its own.")
        self._keys.add(key)
        return call_once(self.results, self.delivery_id, key, fn)

    def send(
        self,
        recipient: str,
        type: str,
        data: Any = None,
        *,
        correlation_id: UUID | None = None,
        deduplication_id: str | None = None,
        expires_in: float | None = None,
        delay: float | None = None,
        at: datetime | None = None,
        labels: Labels | str | None = None,
        extraction: Extraction | None = None,
    ) -> None:
        """Send to an agent or a group once this handler has succeeded.

        Args:
            recipient: an agent's or a group's name.
            type: message type.
            data: any JSON value.
            correlation_id: the request that this answers, when it is not the message at hand (see ``reply``).
            deduplication_id: see ``Outgoing``.
            expires_in: seconds, or None.
            delay: seconds from the handler's commit until it is sent, or None for at once.
            at: when it is sent, in place of ``delay``.
            labels: what its content has beside what it inherits, such as ``"private:customers"``.
            extraction: of which its data are: they make the message trusted.
        """
        self.outgoing.append(
            Outgoing(
                workflow_id=self.workflow_id,
                source=self.agent,
                recipient=recipient,
                type=type,
                data=data,
                causation_id=self.message.message_id,
                correlation_id=correlation_id,
                deduplication_id=deduplication_id,
                expires_in=expires_in,
                delay=delay,
                at=at,
                labels=labels,
                extraction=extraction,
                inherited=self.labels,
            )
        )

    def send_many(self, recipient: str, type: str, items: Sequence[Any]) -> None:
        """Send one message for each item."""
        for item in items:
            self.send(recipient, type, item)

    def broadcast(self, recipients: str | Sequence[str], type: str, data: Any = None) -> None:
        """Send to all members of a group (one message, which has one sequence number), or to each of several agents.

        Args:
            recipients: a group's name, or agents' names.
            type: message type.
            data: any JSON value.
        """
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            self.send(recipient, type, data)

    def reply(self, data: Any = None, *, type: str | None = None) -> None:
        """Answer the sender; a ``request()`` that waits gets this.

        Args:
            data: any JSON value.
            type: message type; the request's own type with ``.reply`` behind it by default.
        """
        message = self.message
        self.send(message.source, type or f"{message.type}.reply", data, correlation_id=message.message_id)
