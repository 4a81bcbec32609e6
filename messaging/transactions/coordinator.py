"""The agent that moves sagas on: an ordinary agent of the bus, with a mailbox in the workflow of each saga.

Its transaction holds the saga's new state, its journal and the calls to participants together.
"""

from __future__ import annotations

from uuid import UUID

import msgspec
from django.utils import timezone

from messaging.core.context import HandlerContext
from messaging.core.envelope import Envelope
from messaging.core.errors import TerminalError
from messaging.transactions.engine import DO, Engine, StepCall, StepReply
from messaging.transactions.hosting import BEGIN, COORDINATOR, OPERATE, REPLIED, TIMED_OUT, SagaHost, SagaRecord
from messaging.transactions.journal import link


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
        engine = Engine(record.plan, record.state, lambda step: self._host.bar(record.id, step))
        actor = _move(engine, message)
        if engine.stale_timers:
            self._host.cancel_timers(record.id)
        for call in engine.calls:
            _send(call, record, context)
        write_down(record, engine, actor=actor, cause=message.message_id)
        if record.lines or engine.calls:
            self._host.save(record)
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


def _move(engine: Engine, message: Envelope) -> str:
    """Give the engine its event; return who is behind it."""
    data = message.data if isinstance(message.data, dict) else {}
    try:
        match message.type:
            case _ if message.type == REPLIED:
                engine.reply(msgspec.convert(data, StepReply))
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
                _operate(engine, data["action"], data["step"], data["reason"])
                return str(data["actor"])
    except (msgspec.ValidationError, KeyError) as error:
        raise TerminalError(f"{message.type} from {message.source}: {error}.") from None
    raise TerminalError(f"{COORDINATOR} takes no messages of type {message.type!r}, sent by {message.source!r}.")


def _operate(engine: Engine, action: str, step: str, reason: str) -> None:
    match action:
        case "cancel":
            engine.cancel(reason)
        case "retry":
            engine.retry(step, reason)
        case "skip":
            engine.skip(step, reason)
        case "force":
            engine.force(reason)
        case _:
            raise TerminalError(f"There is no action {action!r}: cancel, retry, skip or force.")


def _send(call: StepCall, record: SagaRecord, context: HandlerContext) -> None:
    step = call.step
    recipient, type = step.do if call.operation == DO or step.undo is None else step.undo
    header = {"step": step.name, "operation": call.operation, "attempt": call.attempt}
    results = {name: run.result for name, run in record.state.steps.items() if run.result is not None}
    data = {"saga": header, "input": record.state.input, "results": results}
    context.send(recipient, type, data, delay=call.delay or None)
    context.send(COORDINATOR, TIMED_OUT, header, delay=call.delay + step.timeout)
