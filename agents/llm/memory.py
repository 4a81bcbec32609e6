"""What a model is given of a conversation that has grown too long: a strategy, bounded by number, bytes and tokens.

    Trim()              the oldest exchanges are forgotten
    Summarise(client)   a model writes a summary of what is forgotten, which stands in its place

Both keep the instructions and what was asked last, with its tool calls. Only where that alone is too long are its
longest texts cut. An ``AssistantAgent`` uses its strategy twice: for what it remembers, and when its model answers that
a conversation is longer than it can read.

>>> said = [ChatMessage("user", "What is a queue?"), ChatMessage("assistant", "A line."), ChatMessage("user", "Why?")]
>>> [message.content for message in trim(said, Bounds(messages=2)).kept]
['Why?']
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import msgspec

from agents.llm.asking import ask_model
from agents.llm.errors import ContextTooLong
from agents.llm.types import ChatMessage, ModelClient, TokenUsage
from messaging.api import ConfigurationError
from messaging.extension import cut_text, json_size

MAX_BYTES = 786_432
MAX_SUMMARY_BYTES = 16_384
MAX_SHORTENINGS = 6
"""How often a conversation is halved for a model that still finds it too long."""
SUMMARY = "summary"
"""The name under which a summary stands among the messages."""
MIN_CONTENT_BYTES = 64

INSTRUCTIONS = (
    "Summarise this conversation for yourself, in at most {words} words: decisions, facts, names, numbers, open "
    "questions and promises. What is not in the summary is forgotten. Answer with the summary and nothing else."
)


def count_tokens(text: str) -> int:
    """Roughly the tokens of a text: one for three bytes, which is on the safe side for most languages."""
    return len(text.encode(errors="replace")) // 3 + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of a conversation is kept: what is reached first counts.

    Args:
        messages: most messages.
        bytes: as JSON. The state of an agent may have 1 MiB.
        tokens: as ``count`` counts them.
        count: counts the tokens of a text; a model's own tokenizer, perhaps.

    Raises:
        ConfigurationError: a bound is too small to keep a question and its answer.
    """

    messages: int = 100
    bytes: int = 262_144
    tokens: int = 32_000
    count: Callable[[str], int] = count_tokens

    def __post_init__(self) -> None:
        for name, least in (("messages", 1), ("bytes", 1_024), ("tokens", 100)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigurationError(f"An agent's memory: {name} is {value!r}; expected {least} or more.")
        if self.bytes > MAX_BYTES:
            raise ConfigurationError(
                f"An agent's memory: bytes is {self.bytes}; expected at most {MAX_BYTES}, which its state can hold."
            )

    def hold(self, messages: Sequence[ChatMessage]) -> bool:
        """Whether a conversation fits as it is."""
        return _Size.of(messages, self.count).fits(self)

    def halved(self) -> Bounds:
        """Half as much, as far as that goes."""
        return replace(self, bytes=max(1_024, self.bytes // 2), tokens=max(100, self.tokens // 2))

    def down_to(self, messages: Sequence[ChatMessage]) -> Bounds:
        """Bounds that a conversation just fits into, where they are narrower than these."""
        size = _Size.of(messages, self.count)
        return replace(
            self, bytes=max(1_024, min(self.bytes, size.bytes)), tokens=max(100, min(self.tokens, size.tokens))
        )


@dataclass(frozen=True, slots=True)
class _Size:
    messages: int = 0
    bytes: int = 0
    tokens: int = 0

    @staticmethod
    def of(messages: Sequence[ChatMessage], count: Callable[[str], int]) -> _Size:
        return _Size(
            len(messages),
            sum(len(msgspec.json.encode(message)) + 1 for message in messages),
            sum(
                count(message.content) + 4 + sum(count(call.name + call.arguments) for call in message.tool_calls)
                for message in messages
            ),
        )

    def __add__(self, other: _Size) -> _Size:
        return _Size(self.messages + other.messages, self.bytes + other.bytes, self.tokens + other.tokens)

    def fits(self, bounds: Bounds, *, count_messages: bool = True) -> bool:
        return (
            self.bytes <= bounds.bytes
            and self.tokens <= bounds.tokens
            and (not count_messages or self.messages <= bounds.messages)
        )


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A conversation within bounds.

    Args:
        kept: what is left of it.
        dropped: what is not, the oldest first.
    """

    kept: list[ChatMessage]
    dropped: list[ChatMessage]


def trim(messages: Sequence[ChatMessage], bounds: Bounds, *, count_messages: bool = True) -> Trimmed:
    """Keep the instructions, what was asked last and what came of it, and as many exchanges before it as fit.

    Args:
        messages: the conversation.
        bounds: what is kept of it.
        count_messages: False while a turn goes on, whose tool calls are as many as they are.
    """
    head = [message for message in messages if message.role == "system" and message.name != SUMMARY]
    exchanges = _exchanges([message for message in messages if message.role != "system" or message.name == SUMMARY])
    if not exchanges:
        return Trimmed(list(head), [])
    current = exchanges.pop()
    if count_messages and len(current) > bounds.messages:
        current = [current[0], current[-1]][-bounds.messages :]  # its tool calls are forgotten first
    fixed = replace(_Size.of(head, bounds.count), messages=0)
    current = _cut(current, bounds, fixed)
    size = fixed + _Size.of(current, bounds.count)
    kept: list[list[ChatMessage]] = []
    while exchanges:
        larger = size + _Size.of(exchanges[-1], bounds.count)
        if not larger.fits(bounds, count_messages=count_messages):
            break
        size = larger
        kept.insert(0, exchanges.pop())
    before, dropped = (list(chain.from_iterable(parts)) for parts in (kept, exchanges))
    return Trimmed([*head, *before, *current], dropped)


def _exchanges(messages: Sequence[ChatMessage]) -> list[list[ChatMessage]]:
    """Each with a user's message first, so that no answer of a tool stands without its call."""
    exchanges: list[list[ChatMessage]] = []
    for message in messages:
        if message.role in ("user", "system") or not exchanges:
            exchanges.append([])
        exchanges[-1].append(message)
    return exchanges


def _cut(messages: list[ChatMessage], bounds: Bounds, beside: _Size) -> list[ChatMessage]:
    """Cut the longest texts until all of it fits, as far as texts go: arguments of calls are left whole."""
    shown = messages
    longest = max((json_size(message.content) for message in messages), default=0)
    while longest > MIN_CONTENT_BYTES and not (beside + _Size.of(shown, bounds.count)).fits(
        bounds, count_messages=False
    ):
        longest = max(MIN_CONTENT_BYTES, longest * 3 // 4)
        shown = [msgspec.structs.replace(item, content=cut_text(item.content, longest)) for item in messages]
    return shown


class MemoryStrategy(ABC):
    """Decides what is kept of a conversation that has grown too long. Subclass it for one of your own.

    Args:
        bounds: how much is kept.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()

    @abstractmethod
    async def compact(
        self, messages: Sequence[ChatMessage], bounds: Bounds, *, count_messages: bool = True
    ) -> tuple[list[ChatMessage], TokenUsage]:
        """Make a conversation fit.

        Args:
            messages: the conversation.
            bounds: what it must fit into; not always the strategy's own.
            count_messages: see ``trim``.

        Returns:
            The conversation that is left, and what making it consumed.

        Raises:
            ModelError: a model that was asked for it gave no answer.
        """


class Trim(MemoryStrategy):
    """Forgets the oldest exchanges."""

    async def compact(
        self, messages: Sequence[ChatMessage], bounds: Bounds, *, count_messages: bool = True
    ) -> tuple[list[ChatMessage], TokenUsage]:
        return trim(messages, bounds, count_messages=count_messages).kept, TokenUsage()


class Summarise(MemoryStrategy):
    """Has a model summarise what would be forgotten. The summary is summarised again with what comes later.

    Args:
        client: the model; a small one will do.
        bounds: how much is kept, the summary included.
        words: most words of a summary.
    """

    def __init__(self, client: ModelClient, bounds: Bounds | None = None, *, words: int = 300) -> None:
        super().__init__(bounds)
        self._client = client
        self._words = words

    async def compact(
        self, messages: Sequence[ChatMessage], bounds: Bounds, *, count_messages: bool = True
    ) -> tuple[list[ChatMessage], TokenUsage]:
        trimmed = trim(messages, bounds, count_messages=count_messages)
        if not trimmed.dropped:
            return trimmed.kept, TokenUsage()
        # Room for the summary: more is forgotten, and it stands in the summary.
        room = replace(
            bounds,
            messages=max(1, bounds.messages - 1),
            bytes=max(1_024, bounds.bytes - min(MAX_SUMMARY_BYTES, bounds.bytes // 4)),
            tokens=max(100, bounds.tokens - bounds.tokens // 4),
        )
        trimmed = trim(messages, room, count_messages=count_messages)
        text, usage = await self._summary(trimmed.dropped, bounds)
        text = cut_text(text, min(MAX_SUMMARY_BYTES, bounds.bytes // 4))
        head = sum(message.role == "system" for message in trimmed.kept)
        summary = ChatMessage("system", f"What was said before, in short: {text}", name=SUMMARY)
        kept = [*trimmed.kept[:head], summary, *trimmed.kept[head:]]
        return trim(kept, bounds, count_messages=count_messages).kept, usage

    async def _summary(self, dropped: Sequence[ChatMessage], bounds: Bounds) -> tuple[str, TokenUsage]:
        """A summary of messages, cut as far as the model that writes it needs it.

        Raises:
            ContextTooLong: nothing is short enough for it.
            ModelError: it gave no answer.
        """
        text = "\n".join(f"{message.name or message.role}: {message.content}" for message in dropped if message.content)
        instructions = ChatMessage("system", INSTRUCTIONS.format(words=self._words))
        most = bounds.bytes
        for _ in range(MAX_SHORTENINGS):
            try:
                answer = await ask_model(self._client, [instructions, ChatMessage("user", cut_text(text, most))])
            except ContextTooLong:
                most = max(MIN_CONTENT_BYTES, min(most, json_size(text)) // 2)
            else:
                return answer.message.content, answer.usage
        answer = await ask_model(self._client, [instructions, ChatMessage("user", cut_text(text, most))])
        return answer.message.content, answer.usage


class Shortening:
    """Asks a model; when it finds the conversation too long, asks again with less of it.

    What was short enough once is the bound for the rest of the turn.

    Args:
        strategy: makes the conversation shorter.
    """

    def __init__(self, strategy: MemoryStrategy) -> None:
        self._strategy = strategy
        self._bounds: Bounds | None = None
        self.usage = TokenUsage()

    async def fit(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """The conversation, as short as it must be as far as this turn knows."""
        if self._bounds is None:
            return messages
        shorter, usage = await self._strategy.compact(messages, self._bounds, count_messages=False)
        self.usage += usage
        return shorter

    def too_long(self, messages: Sequence[ChatMessage]) -> bool:
        """A model found these too long: give it half as much. Return False when there is nothing left to leave out."""
        before = self._bounds or self._strategy.bounds.down_to(messages)
        halved = before.halved()
        if self._bounds == halved:
            return False
        self._bounds = halved
        return True
