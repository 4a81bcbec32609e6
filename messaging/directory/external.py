"""Agents whose handlers run outside: registered over the HTTP API, known by their rows."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from django.db import transaction

from messaging.conf import get_settings
from messaging.core.backoff import RetryPolicy
from messaging.core.describing import storable
from messaging.core.errors import LabelsLoosened, NameTaken, NotExternal
from messaging.core.labels import LabelPolicy
from messaging.core.registry import WORKER_KINDS, AgentSpec, HandlerKind, registry
from messaging.directory import names
from messaging.models import Agent, ExternalAgent

REMEMBER = 5.0
"""Seconds that what an agent registered is remembered without asking the database."""
MAX_REMEMBERED = 10_000

OUTSIDE = "outside"
"""The origin of what an agent sends that reads untrusted content and names none: nobody here saw what it read."""

_remembered: dict[str, tuple[float, AgentSpec | None]] = {}


def _runs_outside(message: Any, context: Any) -> None:
    raise NotImplementedError("The handler of an external agent runs outside.")


def register_external(
    name: str,
    *,
    description: str = "",
    accepts: Sequence[str] | None = None,
    max_attempts: int | None = None,
    concurrency: int | None = None,
    rate: float | None = None,
    timeout: float | None = None,
    origin: str = "",
    private: Sequence[str] = (),
    reads_untrusted: bool = False,
    sees_private: bool = False,
    changes_outside: bool = False,
    accepts_labels: LabelPolicy | None = None,
    may_loosen: bool = False,
    by: str = "",
) -> AgentSpec:
    """Make an agent external, or change what it said of itself. What waits for it waits for its leases from now on.

    Args:
        name: its name.
        description, accepts, concurrency, rate, timeout: see ``AgentSpec``; ``timeout`` ends a lease however often it
            is renewed.
        origin, private, sees_private, changes_outside, accepts_labels: see ``AgentSpec``.
        reads_untrusted: what it reads outside too: without an ``origin`` all that it sends bears ``OUTSIDE``.
        may_loosen: whether it may declare less than it did before.
        max_attempts: leases of one message, before it becomes a dead letter; None for the settings' own.
        by: who registers it, for operators.

    Raises:
        NameTaken: it has a handler in the workers, or a group has the name.
        LabelsLoosened: it declared more of what it does, or less of what it accepts, before; nothing is changed.
        ConfigurationError: a value cannot be.
    """
    names.refuse_name_of_group(name)
    row = ExternalAgent(
        agent_id=name,
        accepts=None if accepts is None else list(accepts),
        max_attempts=max_attempts,
        concurrency=concurrency,
        rate=rate,
        timeout=timeout,
        origin=origin,
        private=sorted(private),
        reads_untrusted=reads_untrusted,
        sees_private=sees_private,
        changes_outside=changes_outside,
        accepts_untrusted=accepts_labels is None or accepts_labels.untrusted,
        accepts_private=None if accepts_labels is None or accepts_labels.private is None else accepts_labels.private,
        registered_by=storable(by)[:300],
    )
    spec = _spec_of(row, description)
    with transaction.atomic():
        Agent.objects.get_or_create(name=name, defaults={"kind": HandlerKind.EXTERNAL.value})
        agent = Agent.objects.select_for_update(no_key=True).get(name=name)
        if agent.kind in WORKER_KINDS or registry.get(name) is not None:
            raise NameTaken(
                f"{name!r} has a handler in the workers. Take it out of their code first, or choose another."
            )
        before = ExternalAgent.objects.filter(agent=name).first()
        if before is not None and not may_loosen:
            _refuse_to_loosen(_spec_of(before), spec)
        Agent.objects.filter(name=name).update(kind=HandlerKind.EXTERNAL.value, description=description)
        row.save()
    names.forget()
    _remembered.pop(name, None)
    return spec


def _refuse_to_loosen(before: AgentSpec, after: AgentSpec) -> None:
    """A program that was led astray could otherwise take away what is to contain it."""
    bits = ("reads_untrusted", "sees_private", "changes_outside")
    gone = [bit for bit in bits if getattr(before, bit) and not getattr(after, bit)]
    if not after.own_labels.covers(before.own_labels):
        gone.append("origin or private")
    if before.accepts_labels is not None and (
        after.accepts_labels is None or not before.accepts_labels.covers(after.accepts_labels)
    ):
        gone.append("accepts_labels")
    if gone:
        raise LabelsLoosened(
            f"{before.name!r} declared more with {', '.join(gone)} before. Declare that again, or have it registered "
            "once by somebody who may operate agents."
        )


def _spec_of(row: ExternalAgent, description: str = "") -> AgentSpec:
    settings = get_settings()
    retry = None
    if row.max_attempts is not None:
        retry = RetryPolicy(max_attempts=row.max_attempts, base=settings.retry_base, cap=settings.retry_cap)
    return AgentSpec(
        name=str(row.agent_id),
        handler=_runs_outside,
        kind=HandlerKind.EXTERNAL,
        retry=retry,
        accepts=None if row.accepts is None else tuple(row.accepts),
        concurrency=row.concurrency,
        rate=row.rate,
        timeout=row.timeout,
        description=description,
        origin=row.origin or (OUTSIDE if row.reads_untrusted else ""),
        private=tuple(row.private),
        reads_untrusted=row.reads_untrusted,
        sees_private=row.sees_private,
        changes_outside=row.changes_outside,
        accepts_labels=_policy_of(row),
    )


def _policy_of(row: ExternalAgent) -> LabelPolicy | None:
    if row.accepts_untrusted and row.accepts_private is None:
        return None
    private = None if row.accepts_private is None else tuple(row.accepts_private)
    return LabelPolicy(untrusted=row.accepts_untrusted, private=private)


def find_spec(name: str) -> AgentSpec | None:
    """How an agent is run: in this process, or outside. None for one that only other workers know."""
    spec = registry.get(name)
    if spec is not None:
        return spec
    until, known = _remembered.get(name, (0.0, None))
    if until > monotonic():
        return known
    row = ExternalAgent.objects.filter(agent=name, agent__kind=HandlerKind.EXTERNAL.value).first()
    known = None if row is None else _spec_of(row)
    if len(_remembered) > MAX_REMEMBERED:
        _remembered.clear()
    _remembered[name] = (monotonic() + REMEMBER, known)
    return known


def forget() -> None:
    """Ask the database again for every agent."""
    _remembered.clear()


def require_external(name: str) -> AgentSpec:
    """The external agent of that name, as its row has it now.

    Raises:
        NotExternal: none is registered, or it has a handler in the workers by now.
    """
    _remembered.pop(name, None)
    spec = find_spec(name)
    if spec is None or spec.kind is not HandlerKind.EXTERNAL:
        raise NotExternal(f"No external agent is named {name!r}. Register it first.")
    return spec
