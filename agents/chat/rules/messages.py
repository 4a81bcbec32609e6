"""What the chat manager and the members of a chat say to each other.

    chat-manager ── chat.turn ──▶ member        it is your turn: a ``Turn``
    member ──────── chat.said ──▶ chat-manager  a ``Reply``; ``context.reply("text")`` or any JSON will do as well
    chat-manager ── chat.select ▶ selector      who shall speak next? a ``Turn`` with the candidates as its members
    selector ────── chat.said ──▶ chat-manager  its content is a member's name
    chat-desk ───── chat.start, chat.say, chat.stop, chat.answer, chat.wake, chat.proceed ▶ chat-manager

A member is any agent that answers ``chat.turn``. Whose answer it is follows from the message's sender, never from its
data.

>>> turn = read_turn({"chat": "", "turn": 3, "speaker": "critic", "task": "write", "messages": [
...     {"number": 1, "speaker": "user", "content": "write", "kind": "task"}]})
>>> turn.speaker, turn.last
('critic', 'write')
>>> reply_data(turn, "too long")
{'content': 'too long', 'turn': 3}
>>> read_reply({"content": "ok", "turn": 3, "handoff": "editor"}).handoff
'editor'
>>> read_reply(["odd", 1]).content
'["odd",1]'
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from agents.chat.rules.errors import ChatError

MANAGER = "chat-manager"
DESK = "chat-desk"
"""In whose name programs and people speak to the manager."""

TURN = "chat.turn"
SAID = "chat.said"
SELECT = "chat.select"
START = "chat.start"
SAY = "chat.say"
STOP = "chat.stop"
ANSWER = "chat.answer"
WAKE = "chat.wake"
PROCEED = "chat.proceed"

Count = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Kind(StrEnum):
    """What an entry of the transcript is."""

    TASK = "task"
    SAID = "said"
    HUMAN = "human"
    QUESTION = "question"  # from one member to another, within a turn
    REJECTION = "rejection"  # a person refused what a member wanted to say
    NOTICE = "notice"  # from the manager: a timeout, a deadlock


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a turn consumed.

    Args:
        input_tokens, output_tokens: tokens of the model.
        cost: in the currency of the team's budget.
    """

    input_tokens: Count = 0
    output_tokens: Count = 0
    cost: Amount = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens, self.cost + other.cost
        )

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


NOTHING_USED = Usage()


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a transcript. It never changes.

    Args:
        number: its place in the transcript, from 1.
        speaker: the member's name; ``user`` for the task, ``chat`` for notices.
        content: the text.
        kind: see ``Kind``.
        turn: the turn in which it was said; 0 for what nobody was asked for.
        data: further JSON that the member attached.
        usage: what it consumed.
        handoff: the member who shall speak next, if the speaker said so.
        needs: capabilities that the next speaker shall have.
        calls: names of the functions that the speaker called.
        stop: whether the speaker wants the chat to end.
        approved_by: the person who approved it.
        comment: what that person added.
        at: seconds since the epoch.
    """

    number: int
    speaker: str
    content: str
    kind: Kind = Kind.SAID
    turn: int = 0
    data: Any = None
    usage: Usage = NOTHING_USED
    handoff: str | None = None
    needs: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    stop: bool = False
    approved_by: str | None = None
    comment: str = ""
    at: float = 0.0

    @property
    def is_speech(self) -> bool:
        """Whether a member or a person said it, so that it counts for choosing the next speaker."""
        return self.kind in (Kind.SAID, Kind.HUMAN)


class MemberInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """What members know of each other."""

    name: str
    description: str = ""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a member gets when it is its turn.

    Args:
        chat: "" for the chat itself, otherwise the path of the sub-chat in it.
        turn: the turn's number; the reply carries it.
        speaker: the member's name.
        task: what the chat is about.
        attempt: 1, or more when earlier attempts had no answer.
        members: everyone in the chat.
        messages: the last entries of the transcript.
        prompt: what the member is asked in particular: another member's question, a person's objection. Otherwise "".
        handoffs: to whom the member may hand over.
    """

    chat: str = ""
    turn: int
    speaker: str
    task: str = ""
    attempt: int = 1
    members: tuple[MemberInfo, ...] = ()
    messages: tuple[Entry, ...] = ()
    prompt: str = ""
    handoffs: tuple[str, ...] = ()

    @property
    def last(self) -> str:
        """What was said last, or the prompt if there is one."""
        if self.prompt:
            return self.prompt
        return self.messages[-1].content if self.messages else self.task


class ApprovalRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member asks for a person's approval of its message before anyone reads it.

    Args:
        question: what the person is asked.
        options: answers to choose from, for people; any text may be added to a yes or no.
    """

    question: str = ""
    options: tuple[str, ...] = ()


class Question(msgspec.Struct, frozen=True):
    """A question to another member, which the speaker needs answered to go on.

    Args:
        to: the member's name.
        content: the question.
    """

    to: str
    content: str


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a member says. Everything but the content is optional; see ``Entry`` for the common fields.

    Args:
        chat, turn: copied from the turn; without them it answers the member's oldest open turn.
        approval: ask a person first.
        ask: ask another member first; the content is ignored then, and the turn comes again with the answer.
    """

    content: str = ""
    chat: str = ""
    turn: int | None = None
    data: Any = None
    usage: Usage = NOTHING_USED
    handoff: str | None = None
    needs: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    stop: bool = False
    approval: ApprovalRequest | None = None
    ask: Question | None = None


_FIELDS = frozenset(Reply.__struct_fields__) - {"data"}


def read_turn(data: Any) -> Turn:
    """Read the data of a ``chat.turn`` or ``chat.select`` message.

    Raises:
        ChatError: it is no turn.
    """
    try:
        return msgspec.convert(data, Turn)
    except msgspec.ValidationError as error:
        raise ChatError(f"This is no turn of a chat: {error}. Turns come from {MANAGER!r} as {TURN!r}.") from None


def read_reply(data: Any) -> Reply:
    """Read what a member answered. Whatever is no ``Reply`` becomes the content, as JSON."""
    if isinstance(data, str):
        return Reply(content=data)
    if isinstance(data, dict) and not _FIELDS.isdisjoint(data):
        try:
            return msgspec.convert(data, Reply)
        except msgspec.ValidationError:
            turn = data.get("turn")
            content = data.get("content")
            if isinstance(turn, int) and isinstance(content, str):
                return Reply(content=content, turn=turn, chat=str(data.get("chat", "")))
    return Reply(content=msgspec.json.encode(data).decode())


def reply_data(turn: Turn, reply: Reply | str) -> dict[str, Any]:
    """The data of a ``chat.said`` message that answers a turn.

    Args:
        turn: the turn that is answered.
        reply: what is said.
    """
    if isinstance(reply, str):
        reply = Reply(content=reply)
    return plain(msgspec.structs.replace(reply, chat=turn.chat, turn=turn.turn))


def plain(value: msgspec.Struct) -> dict[str, Any]:
    """A value as the JSON that another process will see: no tuples, no enumerations."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return data
