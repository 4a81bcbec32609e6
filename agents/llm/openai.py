"""A client for servers that speak OpenAI's chat-completions format: OpenAI, vLLM, Ollama, llama.cpp and many more."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx2

from agents.llm import wire
from agents.llm.errors import ContextTooLong, ModelBusy, ModelCutOff, ModelGarbled, ModelRefused, ModelUnavailable
from agents.llm.http import HttpClients, check_key, check_url, clean, read_body, retry_after
from agents.llm.types import ChatMessage, Completion, OnText, ToolSpec

MAX_ANSWER_BYTES = 16_777_216
# In the words of OpenAI and vLLM, Anthropic, llama.cpp, Mistral, Google and others; there is no standard code.
_IS_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|maximum (prompt|input|token)|(prompt|input|request) is too (long|large)"
    r"|too many (input )?tokens|tokens?( count)?\b[^.]{0,40}exceed|reduce the length",
    re.IGNORECASE,
)
_LOOKS_LIKE_A_KEY = re.compile(r"\b(sk|key|api)[-_][A-Za-z0-9_*.-]{6,}")


class OpenAIClient:
    """Asks a model over HTTP. Wrap it in ``ResilientClient`` for retries and a circuit breaker.

    The key is read from the environment at each request and kept nowhere.

    Args:
        model: its name at the server.
        base_url: up to and with the version, such as ``https://api.openai.com/v1``.
        key_variable: the environment variable that holds the key; None for servers without keys.
        timeout: seconds for a whole answer.
        silence: seconds that the server may say nothing; bounds a connection that is dead.
        options: further fields of the request, such as ``{"temperature": 0}``.

    Raises:
        ConfigurationError: the URL is none, or holds a password.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str = "https://api.openai.com/v1",
        key_variable: str | None = "OPENAI_API_KEY",
        timeout: float = 120.0,
        silence: float = 60.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        check_url(base_url, f"base_url of model {model!r}")
        self.model = model
        self.base_url = base_url.rstrip("/")
        self.key_variable = key_variable
        self._timeout = timeout
        self._silence = silence
        self._options = dict(options or {})
        self._clients = HttpClients(silence)

    def __repr__(self) -> str:
        return f"OpenAIClient({self.model!r}, base_url={self.base_url!r}, key_variable={self.key_variable!r})"

    async def complete(
        self, messages: Sequence[ChatMessage], *, tools: Sequence[ToolSpec] = (), on_text: OnText | None = None
    ) -> Completion:
        key = self._key()
        body = wire.request_body(self.model, messages, tools, stream=on_text is not None, options=self._options)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        request = self._clients.get().build_request(
            "POST", f"{self.base_url}/chat/completions", content=body, headers=headers
        )
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask(request, messages, on_text, key)
        except TimeoutError:
            raise ModelUnavailable(f"{self.model} did not finish its answer within {self._timeout:g} s.") from None
        except httpx2.TimeoutException:
            raise ModelUnavailable(f"{self.model} said nothing for {self._silence:g} s.") from None
        except httpx2.RemoteProtocolError as error:
            raise ModelCutOff(f"{self.model} ended the connection: {_clean(str(error), key)}") from None
        except httpx2.HTTPError as error:
            raise ModelUnavailable(f"{self.model} cannot be reached: {_clean(str(error), key)}") from None

    def _key(self) -> str:
        if self.key_variable is None:
            return ""
        return check_key(os.environ.get(self.key_variable, ""), self.key_variable, f"model {self.model!r}")

    async def _ask(
        self, request: httpx2.Request, messages: Sequence[ChatMessage], on_text: OnText | None, key: str
    ) -> Completion:
        response = await self._clients.get().send(request, stream=True)
        try:
            if response.status_code != 200:
                text = (await read_body(response, MAX_ANSWER_BYTES, ModelGarbled)).decode(errors="replace")
                raise _refusal(self.model, response, _clean(text, key))
            if on_text is None:
                return wire.read_completion(await read_body(response, MAX_ANSWER_BYTES, ModelGarbled), messages)
            return await self._follow(response, messages, on_text)
        finally:
            await response.aclose()

    async def _follow(self, response: httpx2.Response, messages: Sequence[ChatMessage], on_text: OnText) -> Completion:
        reader = wire.StreamReader(messages)
        async for line in _lines(response):
            if reader.feed(line):
                on_text(reader.text)
            if reader.done:
                break
        return reader.finish()


async def _lines(response: httpx2.Response) -> AsyncIterator[str]:
    length = 0
    async for line in response.aiter_lines():
        length += len(line)
        if length > MAX_ANSWER_BYTES:
            raise ModelGarbled(f"The model's answer is longer than {MAX_ANSWER_BYTES} bytes.")
        yield line


def _refusal(model: str, response: httpx2.Response, text: str) -> Exception:
    status = response.status_code
    said = f"{model} answered {status}: {text[:500]}"
    wait = retry_after(response)
    if status == 429 or (status == 503 and wait is not None):
        return ModelBusy(said, retry_after=wait)
    if status >= 500 or status in (408, 409, 425):
        return ModelUnavailable(said, retry_after=wait)
    if status in (400, 413, 422) and _IS_TOO_LONG.search(text):
        return ContextTooLong(said, status=status)
    return ModelRefused(said, status=status)


def _clean(text: str, key: str) -> str:
    """Take keys out of what a server said."""
    return _LOOKS_LIKE_A_KEY.sub("***", clean(text, key))
