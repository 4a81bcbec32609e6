"""A model that says what it was told to say, for tests, examples and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.llm.types import ChatMessage, Completion, OnText, ToolRequest, ToolSpec, estimate

Answer = str | Completion | ToolRequest | Exception
Script = Sequence[Answer] | Callable[[Sequence[ChatMessage]], Answer]


class ScriptedClient:
    """Answers from a list: the first answer to a conversation without assistant messages, the second to one with one, …

    So it needs no memory, and a script goes on where it was after a restart, in whatever process.

    Args:
        script: texts, tool requests, completions or errors to raise; or a function of the conversation.
        repeat: begin anew at the end of the list; otherwise the last answer is repeated.
        model: the name that it goes by.

    Raises:
        ValueError: the script is empty.
    """

    def __init__(self, script: Script, *, repeat: bool = False, model: str = "scripted") -> None:
        if not callable(script) and not script:
            raise ValueError("A script needs one answer at least.")
        self.model = model
        self.calls: list[list[ChatMessage]] = []
        self._script = script
        self._repeat = repeat

    async def complete(
        self, messages: Sequence[ChatMessage], *, tools: Sequence[ToolSpec] = (), on_text: OnText | None = None
    ) -> Completion:
        self.calls.append(list(messages))
        answer = self._next(messages)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Completion):
            return answer
        if isinstance(answer, ToolRequest):
            message = ChatMessage("assistant", tool_calls=(answer,))
            return Completion(message, estimate(messages, message), "tool_calls", self.model)
        if on_text is not None:
            words = answer.split(" ")
            for count in range(1, len(words) + 1):
                on_text(" ".join(words[:count]))
        message = ChatMessage("assistant", answer)
        return Completion(message, estimate(messages, message), "stop", self.model)

    def _next(self, messages: Sequence[ChatMessage]) -> Answer:
        if callable(self._script):
            return self._script(messages)
        said = sum(message.role == "assistant" for message in messages)
        last = len(self._script) - 1
        return self._script[said % (last + 1) if self._repeat else min(said, last)]
