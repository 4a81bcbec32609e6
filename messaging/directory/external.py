"""Agents whose handlers run outside: registered over the HTTP API, known by their rows."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

from django.db import transaction

from messaging.conf import get_settings
from messaging.core.backoff import RetryPolicy
from messaging.core.describing import storable
from messaging.core.errors import NameTaken, NotExternal
from messaging.core.registry import WORKER_KINDS, AgentSpec, HandlerKind, registry
from messaging.directory import names
from messaging.models import Agent, ExternalAgent

REMEMBER = 5.0
"""Seconds that what an agent registered is remembered without asking the database."""
MAX_REMEMBERED = 10_000

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
    by: str = "",
) -> AgentSpec:
    """Make an agent external, or change what it said of itself. What waits for it waits for its leases from now on.

    Args:
        name: its name.
        description, accepts, concurrency, rate, timeout: see ``AgentSpec``; ``timeout`` ends a lease however often it
            is renewed.
        max_attempts: leases of one message, before it becomes a dead letter; None for the settings' own.
        by: who registers it, for operators.

    Raises:
        NameTaken: it has a handler in the workers, or a group has the name.
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
        Agent.objects.filter(name=name).update(kind=HandlerKind.EXTERNAL.value, description=description)
        row.save()
    names.forget()
    _remembered.pop(name, None)
    return spec


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
    )


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
