"""Making a member of a chat out of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from agents.chat.rules.messages import MANAGER, SAID, SELECT, TURN, Reply, Turn, read_turn, reply_data
from messaging.api import (
    AgentSpec,
    ConfigurationError,
    Envelope,
    HandlerContext,
    HandlerKind,
    RetryPolicy,
    registry,
)

Function = TypeVar("Function", bound=Callable[..., Any])

Speak = Callable[..., Any]
"""``speak(turn)`` or ``speak(turn, context)``, returning a text or a ``Reply``; sync or async."""


def participant(speak: Speak) -> Callable[[Envelope, HandlerContext], Any]:
    """Make a handler of a function that takes a ``Turn`` and returns what to say.

    Args:
        speak: called with (turn) or (turn, context); returns a text or a ``Reply``. An async one makes an async
            handler, which only leased agents may have.

    Raises:
        ConfigurationError: it takes neither one nor two arguments.
    """
    takes_context = _takes_context(speak)

    def call(turn: Turn, context: HandlerContext) -> Any:
        return speak(turn, context) if takes_context else speak(turn)

    def answer(turn: Turn, context: HandlerContext, said: object) -> None:
        if not isinstance(said, str | Reply):
            raise TypeError(f"{speak!r} returned {type(said).__name__}; a chat member returns str or Reply")
        context.reply(reply_data(turn, said), type=SAID)

    if inspect.iscoroutinefunction(speak):

        async def handle_async(message: Envelope, context: HandlerContext) -> None:
            turn = read_turn(message.data)
            answer(turn, context, await call(turn, context))

        return handle_async

    def handle(message: Envelope, context: HandlerContext) -> None:
        turn = read_turn(message.data)
        answer(turn, context, call(turn, context))

    return handle


def _takes_context(speak: Speak) -> bool:
    signature = inspect.signature(speak)
    for count in (2, 1):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count == 2
    raise ConfigurationError(
        f"{speak!r} cannot be called as speak(turn) or speak(turn, context). Give it these parameters."
    )


def chat_member(
    name: str,
    *,
    kind: HandlerKind = HandlerKind.LEASED,
    description: str | None = None,
    retry: RetryPolicy | None = None,
) -> Callable[[Function], Function]:
    """Register a function as an agent that takes part in chats, and return it unchanged.

        @chat_member("critic")
        async def critic(turn):
            return "too long" if len(turn.last) > 500 else "fine"

    Args:
        name: unique among all agents and groups.
        kind: leased for what is slow or calls out, such as a language model; transactional for what is quick.
        description: for operators; the docstring's first line by default.
        retry: its retry policy.

    Raises:
        ConfigurationError: the name is taken, or the function cannot be called so.
    """

    def register(speak: Function) -> Function:
        about = description if description is not None else (inspect.getdoc(speak) or "").partition("\n")[0]
        registry.register(
            AgentSpec(
                name=name,
                handler=participant(speak),
                kind=kind,
                description=about,
                retry=retry,
                accepts=(TURN, SELECT),
                partners=(MANAGER,),
            )
        )
        return speak

    return register
