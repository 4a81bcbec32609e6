"""Starting sagas, looking at them, and what operators do with them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import msgspec
from django.db import transaction

from messaging.core.errors import ConfigurationError, ReplyTimeout, UnknownSaga
from messaging.core.registry import AgentSpec, registry
from messaging.sending.bus import CommunicationBus
from messaging.transactions.coordinator import Coordinator, write_down
from messaging.transactions.database import DatabaseHost, read_journal
from messaging.transactions.definition import Saga
from messaging.transactions.engine import Engine
from messaging.transactions.hosting import BEGIN, COORDINATOR, OPERATE, SIGNAL, LockHolder, SagaHost, SagaRecord
from messaging.transactions.journal import JournalLine
from messaging.transactions.memory import MemoryHost
from messaging.transactions.migrating import obstacles
from messaging.transactions.participant import Participant
from messaging.transactions.plan import SagaPlan, StepKind
from messaging.transactions.state import AWAITING, ENDED, Line, SagaState, new_state

POLL = 0.1

_memories: WeakKeyDictionary[CommunicationBus, MemoryHost] = WeakKeyDictionary()

DATABASE_COORDINATOR = AgentSpec(
    name=COORDINATOR, handler=Coordinator(DatabaseHost()).handle, description="Moves sagas on."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaView:
    """How a saga stands.

    Args:
        id: of the saga and its workflow.
        name, version: of the plan that it runs by.
        status: running, waiting (for a person or a signal), compensating, parked, completed, compensated or forced.
        reason: why it is not simply running or completed.
        steps: step → its state.
        results: step → what it gave.
        errors: step → why it failed last.
        approvals: the steps that a person decides.
        late: of a saga that ended without their answer: step → what its participant did; ``doing`` while it is at it.
    """

    id: UUID
    name: str
    version: int
    status: str
    reason: str
    steps: dict[str, str]
    results: dict[str, Any]
    errors: dict[str, str]
    approvals: tuple[str, ...] = ()
    late: dict[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in ENDED

    @property
    def asking(self) -> list[str]:
        """Those of them that wait for a person."""
        return [name for name in self.awaiting if name in self.approvals]

    @property
    def awaiting(self) -> list[str]:
        """The steps that wait for a person or a signal."""
        return [name for name, state in self.steps.items() if state == AWAITING]


class Sagas:
    """The sagas of a bus.

    Args:
        bus: durable, or in-process: then the same definitions and participants run in this process.
    """

    def __init__(self, bus: CommunicationBus) -> None:
        self._bus = bus
        self._memory = None if bus.durable else _memories.setdefault(bus, MemoryHost(bus))
        self._host: SagaHost = self._memory or DatabaseHost()
        if self._memory is not None and not bus.knows_own(COORDINATOR):
            bus.register_agent(COORDINATOR, Coordinator(self._memory).handle)

    def start(
        self, saga: Saga, input: Any = None, *, actor: str = "program", deduplication_id: str | None = None
    ) -> UUID:
        """Start a saga and return its id, which is that of its workflow. Joins the caller's transaction.

        Args:
            saga: the definition.
            input: any JSON value; every step gets it.
            actor: who starts it, for the journal.
            deduplication_id: starting again with the same one returns the first saga.

        Raises:
            ConfigurationError: the saga has no steps, or nobody knows one of its participants.
        """
        plan = saga.plan
        self._check_participants(plan)
        with transaction.atomic() if self._memory is None else self._host.atomic():
            # One dead message must not stop a saga: its step times out, is tried again, or the saga compensates.
            workflow = self._bus.start_workflow(
                f"saga {saga.name}", failure_policy="skip", deduplication_id=deduplication_id
            )
            if deduplication_id is not None and self._host.load(workflow) is not None:
                return workflow
            record = SagaRecord(workflow, plan, new_state(plan, _plain(input)))
            engine = Engine(plan, record.state, lambda _: True, lambda _: "", lambda _: ())
            engine.lines.append(Line("begun", "", "", "", "running", {"version": plan.version}))
            write_down(record, engine, actor=actor, cause=None)
            self._host.insert(record)
            self._bus.send(workflow, COORDINATOR, BEGIN, {"actor": actor}, sender=COORDINATOR)
        return workflow

    def _check_participants(self, plan: SagaPlan) -> None:
        names = plan.participants
        if self._memory is not None:
            for name in sorted(names):
                self._register_in_memory(name)
        unknown = self._bus.unknown_names(names)
        if unknown:
            raise ConfigurationError(
                f"Saga {plan.name!r} needs {', '.join(unknown)}, which nobody knows. Register the participant "
                f"(Participant(…).register()).{registry.suggest(unknown[0])}"
            )

    def _register_in_memory(self, name: str) -> None:
        spec = registry.get(name)
        owner = None if spec is None else getattr(spec.handler, "__self__", None)
        if (
            spec is not None
            and self._memory is not None
            and isinstance(owner, Participant)
            and not self._bus.knows_own(name)
        ):
            self._bus.register_agent(
                name,
                owner.in_memory(self._memory),
                kind=owner.spec.kind,
                origin=spec.origin,
                private=spec.private,
                reads_untrusted=spec.reads_untrusted,
                sees_private=spec.sees_private,
                changes_outside=spec.changes_outside,
                accepts_labels=spec.accepts_labels,
            )

    def cancel(self, saga: UUID, reason: str, *, actor: str = "program") -> None:
        """Undo what a saga has done so far. A step that has not run never runs. Refused once the pivot is done."""
        self._operate(saga, "cancel", "", reason, actor)

    def retry(self, saga: UUID, step: str, reason: str, *, actor: str = "program") -> None:
        """Try a parked step again."""
        self._operate(saga, "retry", step, reason, actor)

    def skip(self, saga: UUID, step: str, reason: str, *, actor: str = "program") -> None:
        """Leave a parked step as it is, and go on."""
        self._operate(saga, "skip", step, reason, actor)

    def force(self, saga: UUID, reason: str, *, actor: str = "program") -> None:
        """End a saga as it stands; nothing is done or undone any more."""
        self._operate(saga, "force", "", reason, actor)

    def approve(self, saga: UUID, step: str, reason: str, *, actor: str = "program") -> None:
        """Have a step that waits for a person done."""
        self._operate(saga, "approve", step, reason, actor)

    def deny(self, saga: UUID, step: str, reason: str, *, actor: str = "program") -> None:
        """Have a step that waits for a person fail: the saga compensates, or is parked behind its pivot."""
        self._operate(saga, "deny", step, reason, actor)

    def signal(
        self, saga: UUID, name: str, data: Any = None, *, sender: str = COORDINATOR, deduplication_id: str | None = None
    ) -> None:
        """Tell a saga that something happened; it is kept until a step waits for it. Joins the caller's transaction.

        Args:
            saga: its id.
            name: of the signal.
            data: any JSON value, the result of the step.
            sender: who says so, for the journal; an agent may send ``saga.signal`` itself.
            deduplication_id: one that came before with the same one is left out.

        Raises:
            UnknownSaga: there is none with that id.
            ConfigurationError: the signal has no name.
            WorkflowClosed: the saga has ended.
        """
        self.status(saga)
        if not name or len(name) > 100:
            raise ConfigurationError(f"A signal of saga {saga} needs a name of 1 to 100 characters, not {name!r:.120}.")
        self._bus.send(
            saga,
            COORDINATOR,
            SIGNAL,
            {"name": name, "data": data},
            sender=sender,
            deduplication_id=deduplication_id,
        )

    def locked_by(self, resource: str) -> LockHolder | None:
        """The saga that has locked something, or None."""
        return self._host.holder(resource)

    def is_locked(self, resource: str) -> bool:
        """Whether a saga has locked something: what it did there may still be taken back."""
        return self.locked_by(resource) is not None

    def obstacles(self, saga: UUID, target: Saga) -> list[str]:
        """Why a saga cannot be moved to another version of its plan, as things stand; empty where it can."""
        record = self._load(saga)
        return obstacles(record.plan, record.state, target.plan)

    def migrate(self, saga: UUID, target: Saga, reason: str, *, actor: str = "program") -> None:
        """Move a saga to another version of its plan. Its journal says ``migrated``, or ``migrate_refused`` and why.

        Raises:
            ConfigurationError: it cannot be moved.
        """
        problems = self.obstacles(saga, target)
        if problems:
            raise ConfigurationError(f"Saga {saga} stays as it is: {'; '.join(problems)}.")
        self._check_participants(target.plan)
        self._operate(saga, "migrate", "", reason, actor, plan=msgspec.to_builtins(target.plan))

    def _operate(self, saga: UUID, action: str, step: str, reason: str, actor: str, **more: Any) -> None:
        view = self.status(saga)
        if not reason.strip():
            raise ConfigurationError(f"{action} of saga {saga} needs a reason, for whoever reads the journal.")
        if step and step not in view.steps:
            raise ConfigurationError(f"Saga {saga} has no step {step!r}; it has {', '.join(view.steps)}.")
        data = {"action": action, "step": step, "reason": reason[:500], "actor": actor[:200], **more}
        self._bus.send(saga, COORDINATOR, OPERATE, data, sender=COORDINATOR)

    def status(self, saga: UUID) -> SagaView:
        """How a saga stands.

        Raises:
            UnknownSaga: there is none with that id.
        """
        record = self._load(saga)
        view = view_of(saga, record.plan, record.state)
        unanswered = [name for name, state in view.steps.items() if state in ("doing", "undoing")]
        if not view.ended or not unanswered:
            return view
        return replace(view, late=self._host.step_states(saga, unanswered))

    def _load(self, saga: UUID) -> SagaRecord:
        record = self._host.load(saga)
        if record is None:
            raise UnknownSaga(f"There is no saga {saga}.")
        return record

    def journal(self, saga: UUID) -> list[JournalLine]:
        """What happened to a saga, in order."""
        return list(self._memory.journal.get(saga, ())) if self._memory is not None else read_journal(saga)

    def wait(self, saga: UUID, timeout: float) -> SagaView:
        """Wait until a saga has ended; for programs and tests.

        Raises:
            ReplyTimeout: it has not, in that time. It goes on.
        """
        deadline, pause = monotonic() + timeout, threading.Event()
        while not (view := self.status(saga)).ended:
            if monotonic() >= deadline:
                raise ReplyTimeout(f"Saga {saga} is {view.status} after {timeout:g} s: {view.steps}.")
            if self._memory is not None:
                self._bus.send_due_timers()
            pause.wait(POLL)
        return view


def _plain(value: Any) -> Any:
    """A copy as JSON gives it back."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"The input of a saga is a JSON value: {error}.") from None


def view_of(saga: UUID, plan: SagaPlan, state: SagaState) -> SagaView:
    """What is shown of a saga."""
    return SagaView(
        id=saga,
        name=plan.name,
        version=plan.version,
        status=state.status,
        reason=state.reason,
        steps={name: run.state for name, run in state.steps.items()},
        results=state.results,
        errors={name: run.error for name, run in state.steps.items() if run.error},
        approvals=tuple(name for name, step in plan.steps.items() if step.kind is StepKind.APPROVAL),
    )
