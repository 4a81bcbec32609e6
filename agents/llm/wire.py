"""The OpenAI chat-completions format: requests, answers, and answers in pieces (server-sent events)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agents.llm.errors import ModelCutOff, ModelGarbled
from agents.llm.types import ChatMessage, Completion, TokenUsage, ToolRequest, ToolSpec, estimate

MAX_TOOL_CALLS = 128


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None
    index: int | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    tool_calls: list[_Call] | None = None
    refusal: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Choice(msgspec.Struct):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None
    model: str = ""


_read_answer = msgspec.json.Decoder(_Answer, strict=True).decode


def request_body(
    model: str, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec], *, stream: bool, options: Mapping[str, Any]
) -> bytes:
    """The body of a request."""
    body: dict[str, Any] = {**options, "model": model, "messages": [_message(message) for message in messages]}
    if tools:
        body["tools"] = [{"type": "function", "function": msgspec.to_builtins(tool)} for tool in tools]
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return msgspec.json.encode(body)


def _message(message: ChatMessage) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        wire["name"] = message.name
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return wire


def read_completion(body: bytes, asked: Sequence[ChatMessage]) -> Completion:
    """Read a whole answer.

    Raises:
        ModelGarbled: it is none.
    """
    answer = _parse(body)
    choice = answer.choices[0] if answer.choices else None
    said = choice.message if choice is not None else None
    if choice is None or said is None:
        raise ModelGarbled("The model's answer has no message in its first choice.")
    calls = [_tool_request(number, call.id, call.function) for number, call in enumerate(said.tool_calls or ())]
    message = ChatMessage("assistant", said.content or said.refusal or "", tool_calls=tuple(calls))
    return _completion(message, answer.usage, choice.finish_reason or "stop", answer.model, asked)


def _parse(body: bytes) -> _Answer:
    try:
        return _read_answer(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelGarbled(f"The model's answer is no completion: {error}. It begins {body[:120]!r}.") from None


def _tool_request(number: int, identifier: str | None, function: _Function) -> ToolRequest:
    if not function.name:
        raise ModelGarbled("The model asks for a tool without a name.")
    return ToolRequest(identifier or f"call-{number}", function.name, function.arguments or "{}")


def _completion(
    message: ChatMessage, usage: _Usage | None, finish_reason: str, model: str, asked: Sequence[ChatMessage]
) -> Completion:
    if not message.content and not message.tool_calls and finish_reason == "stop":
        raise ModelGarbled("The model's answer is empty.")
    counted = TokenUsage(usage.prompt_tokens, usage.completion_tokens) if usage else estimate(asked, message)
    return Completion(message, counted, finish_reason, model)


class StreamReader:
    """Puts an answer together from the lines of an event stream.

    Args:
        asked: the conversation, for servers that do not count tokens.
    """

    def __init__(self, asked: Sequence[ChatMessage]) -> None:
        self._asked = asked
        self._pieces: list[str] = []
        self._calls: dict[int, tuple[str | None, _Function]] = {}
        self._usage: _Usage | None = None
        self._finish_reason = ""
        self._model = ""
        self.done = False

    @property
    def text(self) -> str:
        """What was said so far."""
        return "".join(self._pieces)

    def feed(self, line: str) -> bool:
        """Take a line; tell whether there is more text now.

        Raises:
            ModelGarbled: the line is no part of an answer.
        """
        if not line.startswith("data:"):
            return False  # empty lines, comments and other fields of an event
        data = line[5:].strip()
        if data == "[DONE]":
            self.done = True
            return False
        piece = _parse(data.encode())
        self._model = piece.model or self._model
        self._usage = piece.usage or self._usage
        if not piece.choices:
            return False
        choice = piece.choices[0]
        self._finish_reason = choice.finish_reason or self._finish_reason
        if choice.delta is None:
            return False
        for call in choice.delta.tool_calls or ():
            self._extend(call)
        added = choice.delta.content or choice.delta.refusal or ""
        self._pieces.append(added)
        return bool(added)

    def _extend(self, call: _Call) -> None:
        index = call.index if call.index is not None else len(self._calls)
        if index not in self._calls and len(self._calls) >= MAX_TOOL_CALLS:
            raise ModelGarbled(f"The model asks for more than {MAX_TOOL_CALLS} tools at once.")
        identifier, function = self._calls.get(index, (None, _Function()))
        self._calls[index] = (
            call.id or identifier,
            _Function(
                call.function.name or function.name, (function.arguments or "") + (call.function.arguments or "")
            ),
        )

    def finish(self) -> Completion:
        """The whole answer.

        Raises:
            ModelCutOff: the stream ended before the answer did.
        """
        if not self._finish_reason:
            raise ModelCutOff(f"The model's answer was cut off after {len(self.text)} characters.")
        calls = [_tool_request(index, *self._calls[index]) for index in sorted(self._calls)]
        message = ChatMessage("assistant", self.text, tool_calls=tuple(calls))
        return _completion(message, self._usage, self._finish_reason, self._model, self._asked)
