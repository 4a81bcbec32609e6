"""Agents that do and undo the steps of sagas."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar
from uuid import UUID, uuid5

import msgspec

from messaging.core.backoff import RetryPolicy
from messaging.core.context import HandlerContext
from messaging.core.describing import safe_repr
from messaging.core.envelope import Envelope
from messaging.core.errors import ConfigurationError, StepFailed, TerminalError
from messaging.core.registry import AgentSpec, Handler, HandlerKind, registry
from messaging.directory.retry_policies import retry_policy
from messaging.transactions.database import DatabaseHost
from messaging.transactions.hosting import REPLIED, StepNote, StepRecords
from messaging.transactions.state import DO, UNDO

MAX_REASON = 2_000


@dataclass(frozen=True, slots=True)
class StepRequest:
    """What a participant is asked for.

    Args:
        saga: id of the saga, which is that of its workflow.
        step: name of the step.
        input: what the saga was started with.
        results: step → what it gave, of the steps before.
        result: what doing this step gave; only for its undo.
        message, context: as every handler gets them.
        operation: do or undo.
    """

    saga: UUID
    step: str
    input: Any
    results: dict[str, Any]
    result: Any
    message: Envelope
    context: HandlerContext
    operation: str = DO

    def idempotency_key(self, call: str = "") -> str:
        """A key for an API outside: the same however often this step is tried, another one for its undo.

        Args:
            call: which one, where the step makes several.
        """
        return str(uuid5(self.saga, f"{self.operation} {self.step} {call}"))

    def call_outside(self, call: str, fn: Callable[[str], Any]) -> Any:
        """Call an API outside and remember its answer (see ``HandlerContext.once``). For leased participants.

        A crash, or an answer that was lost, has the call made again, by another message perhaps: with the same key.

        Args:
            call: names the call in this step.
            fn: gets the idempotency key and returns a JSON value.
        """
        return self.context.once(call, lambda: fn(self.idempotency_key(call)))


StepFunction = Callable[[StepRequest], Any]
Function = TypeVar("Function", bound=StepFunction)


class _Header(msgspec.Struct):
    step: str
    operation: str
    attempt: int


class Participant:
    """An agent that takes part in sagas.

        flights = Participant("flights").register()

        @flights.does("flight.book")
        def book(request):
            if full(request.input["date"]):
                raise StepFailed("sold out")
            return {"seat": "12A"}

        @flights.undoes("flight.cancel")
        def cancel(request):
            release(request.result["seat"])

    A function's effects in the database, the step's record and the reply commit together. ``StepFailed`` says that the
    step cannot be done: the saga compensates. Anything else that is raised is a failure to handle the message, which is
    tried again by the agent's retry policy; when that is used up, the saga hears of it.

    Args:
        name: of the agent.
        kind: transactional, or leased where the functions call out: they may be called again then after a crash.
        retry: the agent's retry policy, or None for the settings' own.
        description: for operators.
    """

    def __init__(
        self,
        name: str,
        *,
        kind: HandlerKind = HandlerKind.TRANSACTIONAL,
        retry: RetryPolicy | None = None,
        description: str = "Takes part in sagas.",
    ) -> None:
        self.name = name
        self._functions: dict[str, tuple[str, StepFunction]] = {}
        self._database: StepRecords = DatabaseHost()
        self.spec = AgentSpec(name=name, handler=self.handle, kind=kind, retry=retry, description=description)

    def register(self) -> Self:
        """Make it known to this process. Call it in a module that workers load.

        Raises:
            ConfigurationError: the name is taken.
        """
        registry.register(self.spec)
        return self

    def does(self, *types: str) -> Callable[[Function], Function]:
        """Have a function do a step. Name former types as well: sagas that were started before still send them."""
        return self._take(DO, types)

    def undoes(self, *types: str) -> Callable[[Function], Function]:
        """Have a function undo a step. It is called only for a step that was done, or failed in its middle."""
        return self._take(UNDO, types)

    def _take(self, operation: str, types: tuple[str, ...]) -> Callable[[Function], Function]:
        def take(function: Function) -> Function:
            if inspect.iscoroutinefunction(function):
                raise ConfigurationError(
                    f"Participant {self.name!r}: {function!r} is async. Write a sync one: a leased participant runs in "
                    "a thread."
                )
            for type in types:
                if self._functions.get(type, (operation, function)) != (operation, function):
                    raise ConfigurationError(f"Participant {self.name!r} has another function for {type!r}.")
                self._functions[type] = (operation, function)
            return function

        return take

    def handle(self, message: Envelope, context: HandlerContext) -> None:
        """Handle a call in the durable bus."""
        self._handle(message, context, self._database, self._last_attempt(context))

    def in_memory(self, records: StepRecords) -> Handler:
        """A handler for the in-process bus, which tries nothing again itself."""
        return lambda message, context: self._handle(message, context, records, last_attempt=True)

    def _last_attempt(self, context: HandlerContext) -> bool:
        return retry_policy(self.name).exhausted(context.attempt, 0.0)

    def _handle(self, message: Envelope, context: HandlerContext, records: StepRecords, last_attempt: bool) -> None:
        header, request, function = self._read(message, context)
        work = _Work(header, request, function, records, self.spec.kind, last_attempt)
        answer = work.do() if header.operation == DO else work.undo()
        context.send(message.source, REPLIED, {**msgspec.to_builtins(header), **answer})

    def _read(self, message: Envelope, context: HandlerContext) -> tuple[_Header, StepRequest, StepFunction]:
        """Take a call apart.

        Raises:
            TerminalError: it is none, or for nobody here.
        """
        try:
            header = msgspec.convert(message.data["saga"], _Header)
            input, results = message.data["input"], message.data["results"]
        except (msgspec.ValidationError, KeyError, TypeError) as error:
            raise TerminalError(
                f"{self.name} takes part in sagas; {message.type!r} from {message.source!r} is no call of one: "
                f"{error!r}"
            ) from None
        operation, function = self._functions.get(message.type, ("", None))
        if function is None or operation != header.operation:
            raise TerminalError(
                f"{self.name} cannot {header.operation} {message.type!r}; it has {', '.join(sorted(self._functions))}. "
                "Name former types beside the new ones in does() and undoes()."
            )
        request = StepRequest(
            message.workflow_id, header.step, input, results, None, message, context, header.operation
        )
        return header, request, function


@dataclass(frozen=True, slots=True)
class _Work:
    """One call. Returns what is answered."""

    header: _Header
    request: StepRequest
    function: StepFunction
    records: StepRecords
    kind: HandlerKind
    last_attempt: bool

    def do(self) -> dict[str, Any]:
        """Do the step, unless it was done, or is not to be done any more."""
        saga, step, attempt = self.request.saga, self.header.step, self.header.attempt
        found = self.records.claim(saga, step, "doing", attempt)
        if found is not None:
            if found.state == "done":
                return {"outcome": "done", "result": found.result}
            if found.state in ("barred", "undone"):
                return {"outcome": "refused", "reason": f"the step is {found.state}"}
            if found.state in ("failed", "unknown") and attempt <= found.attempt:
                return {"outcome": found.state, "reason": str(found.result)}
        try:
            result = self._call(self.request)
        except StepFailed as error:
            reason = error.reason[:MAX_REASON]
            self.records.write(saga, step, StepNote("failed", attempt, reason))
            return {"outcome": "failed", "reason": reason, "final": not error.retry}
        except Exception as error:
            if not self.last_attempt:
                raise
            reason = safe_repr(error)[:MAX_REASON]
            outcome = "failed" if self.kind is HandlerKind.TRANSACTIONAL else "unknown"
            self.records.write(saga, step, StepNote(outcome, attempt, reason))
            return {"outcome": outcome, "reason": reason}
        self.records.write(saga, step, StepNote("done", attempt, result))
        return {"outcome": "done", "result": result}

    def undo(self) -> dict[str, Any]:
        """Undo the step; where it was never done, bar it."""
        saga, step, attempt = self.request.saga, self.header.step, self.header.attempt
        found = self.records.claim(saga, step, "barred", attempt)
        if found is None or found.state in ("barred", "undone"):
            return {"outcome": "done", "reason": "" if found is not None else "it was never done"}
        if found.state == "failed":
            self.records.write(saga, step, StepNote("barred", attempt))
            return {"outcome": "done", "reason": "it was never done"}
        result = found.result if found.state == "done" else None
        request = replace(self.request, result=result)
        try:
            self._call(request)
        except Exception as error:
            if not self.last_attempt and not isinstance(error, StepFailed):
                raise
            return {"outcome": "failed", "reason": (str(error) or safe_repr(error))[:MAX_REASON]}
        self.records.write(saga, step, StepNote("undone", attempt, found.result))
        return {"outcome": "done"}

    def _call(self, request: StepRequest) -> Any:
        """Call the function; what a transactional one wrote before it failed is taken back."""
        if self.kind is HandlerKind.TRANSACTIONAL:
            with self.records.atomic():
                return self.function(request)
        return self.function(request)
