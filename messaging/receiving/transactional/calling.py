"""Calling transactional handlers, and remembering how long they take."""

from __future__ import annotations

import copy
from datetime import datetime
from time import monotonic
from typing import Any

from django.db import Error as DatabaseError

from messaging import log
from messaging.core.describing import safe_repr
from messaging.core.errors import HandlerError, NexusError
from messaging.core.messages import Outgoing
from messaging.core.registry import registry
from messaging.core.returned import warn_of_returned
from messaging.receiving.database import explained, refuse_broken_transaction
from messaging.receiving.handlers import find_handler, make_context
from messaging.receiving.ordering import Ready
from messaging.security.labels.handling import handling, outgoing_of

WEIGHT = 0.2
"""How much the last call counts in an average."""

_averages: dict[str, float] = {}


class HandlerFailed(NexusError):
    """A handler raised; the transaction was rolled back.

    Args:
        ready: the delivery it was handling.
        error: what it raised.

    Attributes:
        calls: so many handlers the transaction had called before; 0 where nobody counted.
    """

    def __init__(self, ready: Ready, error: BaseException) -> None:
        super().__init__(f"{ready.row.agent}: {safe_repr(error)}")
        self.ready = ready
        self.error = error
        self.calls = 0


def expected_seconds(recipient: str) -> float | None:
    """How long handling a message to this agent or group takes here on average; None while nobody knows.

    Args:
        recipient: as the message's envelope says.
    """
    return _averages.get(recipient)


def forget_seconds(recipient: str) -> None:
    """Forget how long an agent takes: its next message is handled by itself."""
    _averages.pop(recipient, None)


def run_handler(ready: Ready, now: datetime, states: dict[log.StateKey, dict[str, Any]]) -> list[Outgoing]:
    """Call the agent's handler; return what it sends.

    Args:
        ready: the delivery that it is to handle.
        now: the current time.
        states: what the transaction's handlers changed so far; a changed state is added.

    Raises:
        HandlerFailed: it raised anything at all, or this process does not know the agent.
    """
    row, envelope = ready.row, ready.passage.envelope
    key = (row.workflow_id, row.agent)
    began = monotonic()
    try:
        context = make_context(
            find_handler(row.agent, envelope), ready, now, load_state=lambda: _load_state(key, states), results=None
        )
        with handling(context):
            warn_of_returned(row.agent, registry.require(row.agent).handler(context.message, context))
        refuse_broken_transaction()
        changed = context.changed_state()
    except DatabaseError as error:
        raise HandlerFailed(ready, explained(error)) from error
    except Exception as error:  # whatever a handler raises has one destination: the failure's outcome
        raise HandlerFailed(ready, error) from error
    except BaseException as error:  # CancelledError, KeyboardInterrupt, SystemExit: it would end the consumer's thread
        raise HandlerFailed(ready, HandlerError(f"The handler raised {safe_repr(error)}.")) from error
    finally:
        took = monotonic() - began
        _averages[envelope.subject] = took * WEIGHT + _averages.get(envelope.subject, took) * (1 - WEIGHT)
    if changed is not None:
        states[key] = changed
    return outgoing_of(context)


def _load_state(key: log.StateKey, states: dict[log.StateKey, dict[str, Any]]) -> dict[str, Any]:
    """A state as the message before left it: earlier in this transaction, or in the database."""
    found = states[key] if key in states else log.load_states([key]).get(key, {})
    return copy.deepcopy(found)
