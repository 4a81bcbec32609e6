"""Making a member of a chat out of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from agents.chat.messages import SAID, Reply, Turn, read_turn, reply_data
from messaging.api import ConfigurationError, Envelope, HandlerContext

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
