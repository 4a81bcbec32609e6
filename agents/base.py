"""The base class of agents, for those that have settings or several handlers; ``@agent`` makes one of a function."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

from messaging.api import AgentSpec, Envelope, HandlerContext, HandlerKind, LabelPolicy, RetryPolicy, registry


class BaseAgent:
    """Subclass it, say what it accepts, and write ``handle``; sync, or async for a leased agent.

        class Critic(BaseAgent):
            accepts = ("draft.ready",)

            async def handle(self, message, context):
                context.reply({"text": await ask(message.data["text"])})

        Critic("critic").register()

    One object handles messages of all workflows, in several threads and processes: keep what belongs to a workflow in
    ``context.state``, never on the object. The class attributes are defaults; see ``AgentSpec`` for what they mean.

    Args:
        name: unique among all agents and groups.
        partners: agents and groups that it sends to.
        settings: ``accepts``, ``kind``, ``retry``, ``concurrency``, ``rate``, ``timeout``, ``description``, or
            what ``AgentSpec`` has on labels, in place of the class's own.

    Raises:
        TypeError: there is no such setting.
        ConfigurationError: an agent cannot be run like that.
    """

    accepts: ClassVar[Iterable[str] | None] = None
    kind: ClassVar[HandlerKind | None] = None
    retry: ClassVar[RetryPolicy | None] = None
    concurrency: ClassVar[int | None] = None
    rate: ClassVar[float | None] = None
    timeout: ClassVar[float | None] = None
    origin: ClassVar[str] = ""
    private: ClassVar[Iterable[str]] = ()
    reads_untrusted: ClassVar[bool] = False
    sees_private: ClassVar[bool] = False
    changes_outside: ClassVar[bool] = False
    accepts_labels: ClassVar[LabelPolicy | None] = None

    def __init__(self, name: str, *, partners: Iterable[str] = (), **settings: Any) -> None:
        unknown = settings.keys() - _SETTINGS
        if unknown:
            raise TypeError(f"{type(self).__name__} has no setting {min(unknown)!r}; there are {', '.join(_SETTINGS)}.")
        chosen = {setting: settings.get(setting, getattr(type(self), setting, None)) for setting in _SETTINGS}
        self.name = name
        self.spec = make_spec(name, self.handle, partners=partners, **chosen)

    def handle(self, message: Envelope, context: HandlerContext) -> Any:
        """Handle a message.

        What it raises decides what becomes of the message: see ``TransientError``, ``TerminalError``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no handle().")

    def register(self) -> Self:
        """Make the agent known to this process. Call it in a module that workers load.

        Raises:
            ConfigurationError: the name is taken.
        """
        registry.register(self.spec)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


_LABELS = ("origin", "private", "reads_untrusted", "sees_private", "changes_outside", "accepts_labels")
_SETTINGS = ("accepts", "kind", "retry", "concurrency", "rate", "timeout", "description", *_LABELS)


def make_spec(
    name: str,
    handler: Any,
    *,
    accepts: Iterable[str] | None,
    kind: HandlerKind | None,
    retry: RetryPolicy | None,
    concurrency: int | None,
    rate: float | None,
    timeout: float | None,
    partners: Iterable[str],
    description: str | None,
    origin: str | None = None,
    private: Iterable[str] | None = None,
    reads_untrusted: bool | None = None,
    sees_private: bool | None = None,
    changes_outside: bool | None = None,
    accepts_labels: LabelPolicy | None = None,
) -> AgentSpec:
    """Fill in what was left out: an async handler makes a leased agent, the docstring's first line the description."""
    if kind is None:
        kind = HandlerKind.LEASED if inspect.iscoroutinefunction(handler) else HandlerKind.TRANSACTIONAL
    if description is None:
        owner = getattr(handler, "__self__", None)
        description = (inspect.getdoc(handler if owner is None else type(owner)) or "").partition("\n")[0]
    return AgentSpec(
        name=name,
        handler=handler,
        kind=kind,
        retry=retry,
        accepts=_types(accepts),
        models=dict(accepts) if isinstance(accepts, Mapping) else {},
        partners=tuple(partners),
        concurrency=concurrency,
        rate=rate,
        timeout=timeout,
        description=description,
        origin=origin or "",
        private=_tuple(private) or (),
        reads_untrusted=reads_untrusted or False,
        sees_private=sees_private or False,
        changes_outside=changes_outside or False,
        accepts_labels=accepts_labels,
    )


def _types(accepts: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(accepts, Mapping):  # "order.placed:2" is the type "order.placed", in version 2
        return tuple(dict.fromkeys(name.partition(":")[0] for name in accepts))
    return _tuple(accepts)


def _tuple(names: Iterable[str] | None) -> tuple[str, ...] | None:
    # A string would be taken apart into letters: leave it to the specification to refuse it.
    return names if names is None or isinstance(names, str) else tuple(names)  # type: ignore[return-value]
