"""The agent that moves sagas on: an ordinary agent of the bus, with a mailbox in the workflow of each saga.

Its transaction holds the saga's new state, its journal and the calls to participants together.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from django.utils import timezone

from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import TerminalError
from messaging.transactions.engine import Engine
from messaging.transactions.hosting import (
    BEGIN,
    COORDINATOR,
    OPERATE,
    REPLIED,
    SIGNAL,
    TIMED_OUT,
    SagaHost,
    SagaRecord,
)
from messaging.transactions.journal import link
from messaging.transactions.lock_cycles import cycle_to_leave
from messaging.transactions.migrating import migrate
from messaging.transactions.plan import MISSING, SagaPlan, look_up
from messaging.transactions.state import DO, LOCK, StepCall, StepReply


class Coordinator:
    """Handles what comes for the coordinating agent.

    Args:
        host: keeps the sagas.
    """

    def __init__(self, host: SagaHost) -> None:
        self._host = host

    def handle(self, message: Envelope, context: HandlerContext) -> None:
        """Move a saga by one message.

        Raises:
            TerminalError: there is no such saga, or no such event.
        """
        record = self._host.load(message.workflow_id)
        if record is None:
            raise TerminalError(f"Workflow {message.workflow_id} is no saga. Start sagas with Sagas(bus).start(…).")
        ended = record.ended
        direction = record.state.direction
        engine = Engine(
            record.plan,
            record.state,
            lambda step: self._host.bar(record.id, step),
            lambda resources: self._host.lock(record.id, resources),
            lambda resources: cycle_to_leave(record.id, resources, self._host),
        )
        actor = _move(engine, message, record)
        if engine.stale_timers:
            self._host.cancel_timers(record.id)
        for call in engine.calls:
            _send(call, record, context)
        write_down(record, engine, actor=actor, cause=message.message_id)
        if record.lines or engine.calls:
            self._host.save(record)
        if record.plan.locks and record.state.direction != direction:
            self._host.settle_locks(record)
        if record.ended and not ended:
            self._host.end_workflow(record)


def write_down(record: SagaRecord, engine: Engine, *, actor: str, cause: UUID | None) -> None:
    """Add the engine's lines to those that are to be stored with the saga."""
    lines = link(
        engine.lines,
        workflow_id=record.id,
        count=record.count,
        head=record.head,
        at=timezone.now(),
        actor=actor,
        cause=cause,
    )
    if lines:
        record.count, record.head = lines[-1].number, lines[-1].hash
        record.lines += lines


def _move(engine: Engine, message: Envelope, record: SagaRecord) -> str:
    """Give the engine its event; return who is behind it."""
    data = message.data if isinstance(message.data, dict) else {}
    try:
        match message.type:
            case _ if message.type == REPLIED:
                engine.reply(msgspec.convert(data, StepReply))
                return message.source
            case _ if message.type == SIGNAL:
                engine.signal(data["name"], data.get("data"))
                return message.source
            case _ if message.source != COORDINATOR:
                raise TerminalError(f"Only {COORDINATOR} itself sends {message.type!r}, not {message.source!r}.")
            case _ if message.type == BEGIN:
                engine.begin()
                return str(data.get("actor", COORDINATOR))
            case _ if message.type == TIMED_OUT:
                engine.time_out(data["step"], data["operation"], data["attempt"])
                return COORDINATOR
            case _ if message.type == OPERATE:
                _operate(engine, data, record)
                return str(data["actor"])
    except (msgspec.ValidationError, KeyError) as error:
        raise TerminalError(f"{message.type} from {message.source}: {error}.") from None
    raise TerminalError(f"{COORDINATOR} takes no messages of type {message.type!r}, sent by {message.source!r}.")


def _operate(engine: Engine, data: dict[str, Any], record: SagaRecord) -> None:
    action, step, reason = data["action"], data["step"], data["reason"]
    match action:
        case "cancel":
            engine.cancel(reason)
        case "retry":
            engine.retry(step, reason)
        case "skip":
            engine.skip(step, reason)
        case "force":
            engine.force(reason)
        case "approve" | "deny":
            engine.decide(step, action == "approve", reason, str(data["actor"]))
        case "migrate":
            migrate(record, engine, msgspec.convert(data["plan"], SagaPlan), reason)
        case _:
            raise TerminalError(f"There is no action {action!r}: cancel, retry, skip, force, approve, deny or migrate.")


def _send(call: StepCall, record: SagaRecord, context: HandlerContext) -> None:
    step, state = call.step, record.state
    header = {"step": step.name, "operation": call.operation, "attempt": call.attempt}
    if call.operation == LOCK:
        context.send(COORDINATOR, TIMED_OUT, header, delay=call.delay)
        return
    target = step.do if call.operation == DO or step.undo is None else step.undo
    if target is not None:
        results = {
            name.removeprefix(step.scope): run.result
            for name, run in state.steps.items()
            if run.result is not None and name.startswith(step.scope)
        }
        input = look_up(step.takes, state.input, state.results_kept)
        data = {"saga": header, "input": None if input is MISSING else input, "results": results}
        recipient, type = target
        context.send(recipient, type, data, delay=call.delay or None)
    context.send(COORDINATOR, TIMED_OUT, header, delay=call.delay + step.timeout)
