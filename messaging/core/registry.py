"""The agents that this process can run."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from messaging.core.backoff import RetryPolicy
from messaging.core.context import HandlerContext
from messaging.core.describing import safe_repr, storable
from messaging.core.envelope import Envelope
from messaging.core.errors import ConfigurationError, EnvelopeError, LabelError, NameTaken, TerminalError
from messaging.core.labels import NO_LABELS, LabelPolicy, Labels
from messaging.core.names import AGENT_NAME_RULE, TYPE_NAME_RULE, check_agent_name, is_agent_name, is_type_name
from messaging.core.numbers import MAX_ATTEMPTS, MAX_RATE, MAX_SECONDS, MIN_RATE, check_number

MAX_SHOWN = 20
"""Names in an error's text."""

Handler = Callable[[Envelope, HandlerContext], Any]


LIMITS: Mapping[str, tuple[float, float]] = {
    "concurrency": (1, 1_000_000),
    "rate": (MIN_RATE, MAX_RATE),
    "timeout": (0, MAX_SECONDS),
}
"""The limits of an agent: the least and the most that each may be."""


class HandlerKind(StrEnum):
    TRANSACTIONAL = "transactional"
    LEASED = "leased"
    EXTERNAL = "external"
    """A program outside leases its messages from the log, over the HTTP API. No broker carries them."""


WORKER_KINDS = (HandlerKind.TRANSACTIONAL, HandlerKind.LEASED)
"""Kinds whose handlers run in workers; each has a queue of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """How an agent is run.

    Args:
        name: unique among all agents and groups.
        handler: called with (message, context); sync, or async for leased agents.
        kind: transactional (quick, database only) or leased (slow, or calling out).
        retry: its retry policy, or None for the settings' own.
        accepts: message types that it takes, "audit.*" for all that begin with "audit."; any other one becomes a dead
            letter. None for every type.
        partners: agents and groups that it sends to; a worker refuses to start while nobody knows one of them.
        concurrency: handlers at once over all workers (leased agents only), or None for no limit but the workers' own.
        rate: handlers started per second over all workers (leased agents only), or None for no limit.
        timeout: seconds that its handler may take (leased agents only), or None. An async handler is cancelled then; a
            sync one runs on, its result is refused, and it counts as running until it ends.
        description: for operators.
        models: classes for the data of types that it accepts, by type, or by type and version (``"order.placed:2"``):
            msgspec structs, dataclasses or pydantic models. The schema of a type is derived from its class.
        origin: name of the untrusted place that it brings content from, such as ``"web"``: all that it sends bears it.
        private: names of those whose secrets it brings in: all that it sends bears them.
        reads_untrusted, sees_private, changes_outside: what it does. An agent that does all three needs a person's
            approval for a message for which all three are so.
        accepts_labels: what it accepts; None for everything.

    Raises:
        ConfigurationError: an agent cannot be run like that.
    """

    name: str
    handler: Handler
    kind: HandlerKind = HandlerKind.TRANSACTIONAL
    retry: RetryPolicy | None = None
    accepts: tuple[str, ...] | None = None
    partners: tuple[str, ...] = ()
    concurrency: int | None = None
    rate: float | None = None
    timeout: float | None = None
    description: str = ""
    models: Mapping[str, Any] = field(default_factory=dict, hash=False)
    origin: str = ""
    private: tuple[str, ...] = ()
    reads_untrusted: bool = False
    sees_private: bool = False
    changes_outside: bool = False
    accepts_labels: LabelPolicy | None = None
    own_labels: Labels = field(default=NO_LABELS, init=False)

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_kind(self)
        _check_handler(self)
        _check_limits(self)
        _check_accepts(self)
        _check_labels(self)

    @property
    def does_all_three(self) -> bool:
        """Whether it reads untrusted content, sees private data and changes the outside."""
        return self.reads_untrusted and self.sees_private and self.changes_outside

    def takes(self, type: str) -> bool:
        """Tell whether the agent accepts a message type."""
        if self.accepts is None:
            return True
        return any(
            type == accepted or (accepted.endswith(".*") and type.startswith(accepted[:-1]))
            for accepted in self.accepts
        )

    def check_takes(self, envelope: Envelope) -> None:
        """Refuse a message of a type that the agent does not accept.

        Raises:
            TerminalError: says what it accepts.
        """
        if not self.takes(envelope.type):
            raise TerminalError(
                f"Agent {self.name!r} does not accept messages of type {envelope.type!r}, sent by {envelope.source!r}; "
                f"it accepts {', '.join(self.accepts or ()) or 'none'}."
                f"{did_you_mean(envelope.type, self.accepts or ())} Send another type, or add this one to its accepts."
            )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question for an error about an unknown name, with a space before it; nothing when no known one is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _check_name(name: str) -> None:
    try:
        check_agent_name(name)
    except EnvelopeError as error:
        raise ConfigurationError(f"Agent {safe_repr(name)[:60]}: {error}") from None


def _check_kind(spec: AgentSpec) -> None:
    try:
        object.__setattr__(spec, "kind", HandlerKind(spec.kind))
    except ValueError:
        raise ConfigurationError(
            f"Agent {spec.name!r}: kind is {safe_repr(spec.kind)[:60]}; expected one of {', '.join(HandlerKind)}."
        ) from None


def _check_limits(spec: AgentSpec) -> None:
    if spec.retry is not None and not isinstance(spec.retry, RetryPolicy):
        raise ConfigurationError(
            f"Agent {spec.name!r}: retry is a {type(spec.retry).__name__}; expected a RetryPolicy."
        )
    if spec.retry is not None:
        check_number(f"Agent {spec.name!r}: retry.max_attempts", spec.retry.max_attempts, 1, MAX_ATTEMPTS, whole=True)
    description: Any = spec.description
    if not isinstance(description, str) or storable(description) != description:
        raise ConfigurationError(f"Agent {spec.name!r}: description is no text that a database can store.")
    for limit, (least, most) in LIMITS.items():
        value = getattr(spec, limit)
        if value is None:
            continue
        check_number(f"Agent {spec.name!r}: {limit} (or None)", value, least, most, whole=limit == "concurrency")
        if spec.kind is HandlerKind.TRANSACTIONAL:
            raise ConfigurationError(
                f"Agent {spec.name!r} is transactional and has {limit}={value!r}. Its handlers run in batches inside a "
                f"transaction and cannot be limited one by one: make it leased, or leave {limit} out."
            )


def _check_accepts(spec: AgentSpec) -> None:
    if isinstance(spec.accepts, str):
        raise ConfigurationError(
            f"Agent {spec.name!r}: accepts is the string {spec.accepts!r}. Write [{spec.accepts!r}]."
        )
    for accepted in _names(spec, "accepts"):
        if not is_type_name(accepted.removesuffix(".*")):
            raise ConfigurationError(
                f"Agent {spec.name!r}: accepts names {accepted!r}, which is no message type ({TYPE_NAME_RULE})."
            )
    for partner in _names(spec, "partners"):
        if not is_agent_name(partner):
            raise ConfigurationError(
                f"Agent {spec.name!r}: partners names {partner!r}, which is no agent's name ({AGENT_NAME_RULE})."
            )


def _check_labels(spec: AgentSpec) -> None:
    for attribute in ("reads_untrusted", "sees_private", "changes_outside"):
        value = getattr(spec, attribute)
        if not isinstance(value, bool):
            raise ConfigurationError(
                f"Agent {spec.name!r}: {attribute} is {safe_repr(value)[:60]}; expected True or False."
            )
    if spec.accepts_labels is not None and not isinstance(spec.accepts_labels, LabelPolicy):
        raise ConfigurationError(
            f"Agent {spec.name!r}: accepts_labels is {safe_repr(spec.accepts_labels)[:60]}; expected a LabelPolicy."
        )
    if not (spec.origin or spec.private):
        return
    try:
        own = Labels.of(origins=[spec.origin] if spec.origin else [], private=spec.private)
    except LabelError as error:
        raise ConfigurationError(f"Agent {spec.name!r}: {error}") from None
    object.__setattr__(spec, "private", tuple(spec.private))
    object.__setattr__(spec, "own_labels", own)


def _names(spec: AgentSpec, attribute: str) -> tuple[str, ...]:
    named = getattr(spec, attribute) or ()
    if isinstance(named, str) or not isinstance(named, Iterable) or not all(isinstance(one, str) for one in named):
        raise ConfigurationError(
            f"Agent {spec.name!r}: {attribute} is {safe_repr(named)[:60]}; expected names in a tuple."
        )
    if getattr(spec, attribute) is not None or attribute == "partners":
        object.__setattr__(spec, attribute, tuple(named))
    return tuple(named)


def _check_handler(spec: AgentSpec) -> None:
    if not callable(spec.handler):
        raise ConfigurationError(f"Agent {spec.name!r}: its handler {spec.handler!r} is not callable. Pass a function.")
    try:
        inspect.signature(spec.handler).bind(None, None)
    except ValueError:
        pass  # a builtin without a signature
    except TypeError as error:
        raise ConfigurationError(
            f"Agent {spec.name!r}: its handler cannot be called as handler(message, context): {error}. "
            "Give it these two parameters."
        ) from None
    if inspect.iscoroutinefunction(spec.handler) and spec.kind is HandlerKind.TRANSACTIONAL:
        raise ConfigurationError(
            f"Agent {spec.name!r}: an async handler cannot run inside a database transaction. Make the agent leased."
        )


class AgentRegistry:
    """Agents by name. A name is registered once; registering the same handler again is harmless."""

    def __init__(self) -> None:
        self._specs: dict[str, AgentSpec] = {}
        self.models_changed = 0
        """Grows whenever an agent with models comes or goes."""

    def register(self, spec: AgentSpec) -> None:
        """Add an agent.

        Raises:
            NameTaken: another handler has the name.
            ConfigurationError: it is of a kind that no worker runs.
        """
        if spec.kind not in WORKER_KINDS:
            raise ConfigurationError(
                f"Agent {spec.name!r}: its handler runs here, so its kind is one of {', '.join(WORKER_KINDS)}. "
                "Programs outside register themselves, over the HTTP API (docs/external-agents.md)."
            )
        present = self._specs.get(spec.name)
        if present is not None and present.handler != spec.handler:
            raise NameTaken(
                f"Agent {spec.name!r} is registered twice, with {present.handler!r} "
                f"and with {spec.handler!r}. Rename one."
            )
        if spec.models or (present is not None and present.models):
            self.models_changed += 1
        self._specs[spec.name] = spec

    def get(self, name: str) -> AgentSpec | None:
        return self._specs.get(name)

    def require(self, name: str) -> AgentSpec:
        """The agent of that name.

        Raises:
            ConfigurationError: this process knows none; says which name is meant, perhaps.
        """
        spec = self._specs.get(name)
        if spec is None:
            raise ConfigurationError(f"No agent is named {name!r}.{self.suggest(name)}")
        return spec

    def suggest(self, name: str, others: Iterable[str] = ()) -> str:
        """A hint for an error about an unknown name: the nearest known one, or all of them."""
        known = sorted({*self._specs, *others})
        if meant := did_you_mean(name, known):
            return meant
        shown = ", ".join(known[:MAX_SHOWN]) + (f" and {len(known) - MAX_SHOWN} more" if len(known) > MAX_SHOWN else "")
        return f" Known: {shown or 'none'}. Is its module named by NEXUS_AGENTS, or <app>.nexus_agents?"

    def put_back(self, specs: Iterable[AgentSpec]) -> None:
        """Have these agents again, as they were, whatever was removed or registered since."""
        for spec in specs:
            self._specs[spec.name] = spec

    def remove(self, name: str) -> None:
        removed = self._specs.pop(name, None)
        if removed is not None and removed.models:
            self.models_changed += 1

    def __iter__(self) -> Iterator[AgentSpec]:
        return iter(tuple(self._specs.values()))  # another thread may register one meanwhile

    def __len__(self) -> int:
        return len(self._specs)


registry = AgentRegistry()
