"""``@agent``: a function becomes an agent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from agents.base import make_spec
from messaging.api import ConfigurationError, HandlerKind, LabelPolicy, RetryPolicy, registry

Function = TypeVar("Function", bound=Callable[..., Any])


def agent(
    name: str,
    *,
    accepts: Iterable[str] | None = None,
    kind: HandlerKind | None = None,
    retry: RetryPolicy | None = None,
    partners: Iterable[str] = (),
    concurrency: int | None = None,
    rate: float | None = None,
    timeout: float | None = None,
    description: str | None = None,
    origin: str = "",
    private: Iterable[str] = (),
    reads_untrusted: bool = False,
    sees_private: bool = False,
    changes_outside: bool = False,
    accepts_labels: LabelPolicy | None = None,
) -> Callable[[Function], Function]:
    """Register a function as an agent's handler and return it unchanged.

        @agent("critic", accepts=["draft.ready"])
        def critic(message, context):
            context.reply({"verdict": "too long" if len(message.data["text"]) > 500 else "fine"})

    Workers find it in ``<installed app>/nexus_agents.py`` and in the modules that NEXUS_AGENTS names.

    Args:
        name: unique among all agents and groups.
        accepts: message types; any other one becomes a dead letter. None for every type. A mapping from types to
            classes gives each type a schema: ``{"order.placed": OrderPlaced}``; ``"order.placed:2"`` is version 2.
        kind: by default leased for an async function, transactional otherwise.
        retry, partners, concurrency, rate, timeout: see ``AgentSpec``.
        description: for operators; the docstring's first line by default.
        origin, private, reads_untrusted, sees_private, changes_outside, accepts_labels: see ``AgentSpec``.

    Raises:
        ConfigurationError: the name is taken, or the function cannot be called as handler(message, context).
    """
    if not isinstance(name, str):
        raise ConfigurationError(f'@agent needs the agent\'s name: write @agent("name") above {name!r}.')

    def register(function: Function) -> Function:
        registry.register(
            make_spec(
                name,
                function,
                accepts=accepts,
                kind=kind,
                retry=retry,
                partners=partners,
                concurrency=concurrency,
                rate=rate,
                timeout=timeout,
                description=description,
                origin=origin,
                private=private,
                reads_untrusted=reads_untrusted,
                sees_private=sees_private,
                changes_outside=changes_outside,
                accepts_labels=accepts_labels,
            )
        )
        return function

    return register
