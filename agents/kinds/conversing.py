"""An agent that answers text with text, alone or as a member of a group chat."""

from __future__ import annotations

from typing import Any

import msgspec

from agents.base import BaseAgent
from agents.chat.rules.messages import SAID, SELECT, TURN, Reply, Turn, Usage, read_turn, reply_data
from agents.kinds.text import plain, text_of
from messaging.api import Envelope, HandlerContext, HandlerKind, RetryPolicy


class TextAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent says.

    Args:
        text: the answer.
        usage: what it consumed.
        calls: names of the tools that were called.
        data: further JSON.
    """

    text: str
    usage: Usage = Usage()
    calls: tuple[str, ...] = ()
    data: Any = None


class ConversingAgent(BaseAgent):
    """Subclass it and write ``answer``.

    The reply to a message is ``{"text": …, "usage": {…}, "calls": […], "data": …}``; in a group chat it is what the
    agent says in its turn.
    """

    kind = HandlerKind.LEASED
    # A model that is down for minutes is ordinary; its messages wait for it.
    retry = RetryPolicy(max_attempts=8, base=2.0, cap=300.0)

    async def answer(self, text: str, context: HandlerContext, *, speaker: str) -> TextAnswer:
        """Answer a text.

        Args:
            text: what was said.
            context: of the handler; ``context.state`` is kept for the next answer in this workflow.
            speaker: who said it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no answer().")

    async def handle(self, message: Envelope, context: HandlerContext) -> None:
        if message.type in (TURN, SELECT):
            await self._take_turn(read_turn(message.data), context)
            return
        answer = await self.answer(text_of(message.data), context, speaker=message.source)
        context.reply(plain(answer))

    async def _take_turn(self, turn: Turn, context: HandlerContext) -> None:
        chats = context.state.setdefault("read", {})
        text, read = _news(turn, chats.get(turn.chat, 0))
        chats[turn.chat] = read
        answer = await self.answer(text, context, speaker="chat")
        reply = Reply(content=answer.text, usage=answer.usage, calls=answer.calls, data=answer.data)
        context.reply(reply_data(turn, reply), type=SAID)


def _news(turn: Turn, read: int) -> tuple[str, int]:
    """What was said since the agent's last turn, and up to which number the transcript is read then."""
    new = [entry for entry in turn.messages if entry.number > read and entry.speaker != turn.speaker]
    lines = [f"{entry.speaker}: {entry.content}" for entry in new]
    if turn.prompt:
        lines.append(turn.prompt)
    return "\n".join(lines) or turn.last, max((entry.number for entry in turn.messages), default=read)
