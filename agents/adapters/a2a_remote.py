"""A remote agent, over A2A 1.0 in JSON-RPC: its card, messages to it, and how its tasks stand."""

from __future__ import annotations

import asyncio
import os
from time import monotonic
from typing import Any
from uuid import UUID, uuid5

import httpx2
import msgspec

from agents.llm.http import HttpClients, check_key, check_url, clean, read_body, retry_after
from messaging.api import TerminalError, TransientError
from messaging.extension import cut_text

VERSION = "1.0"
WELL_KNOWN = "/.well-known/agent-card.json"
CARD_LIFE = 3_600.0
"""Seconds for which a card is not read again."""
MAX_ANSWER_BYTES = 4_194_304
MAX_KEPT_BYTES = 100_000
"""Of a text, and of data: they become a message."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds between two questions how a task stands."""
HISTORY = 5

COMPLETED = "TASK_STATE_COMPLETED"
INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
AUTH_REQUIRED = "TASK_STATE_AUTH_REQUIRED"
FAILED_STATES = frozenset({"TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"})
SETTLED = FAILED_STATES | {COMPLETED, INPUT_REQUIRED}

NO_TASK, UNSUPPORTED, INTERNAL = -32001, -32004, -32603


class RemoteRefused(TerminalError):
    """The remote refused a request.

    Args:
        code: of JSON-RPC.
    """

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class Standing(msgspec.Struct, frozen=True):
    """How a remote's answer stands.

    Args:
        state: of its task; completed for a message without a task.
        text: what it said.
        data: further JSON that it attached.
        task, context: their ids; "" without.
    """

    state: str
    text: str = ""
    data: Any = None
    task: str = ""
    context: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether waiting changes nothing."""
        return self.state in SETTLED


class RemoteAgent:
    """See the module. The arguments are those of ``A2AAgent``.

    Raises:
        ConfigurationError: the URL is none, or holds a password.
    """

    def __init__(self, url: str, *, key_variable: str | None, silence: float) -> None:
        self._origin = _origin(check_url(url, "url of a remote agent"))
        self._url = url.rstrip("/")
        self._key_variable = key_variable
        self._silence = silence
        self._clients = HttpClients(silence)
        self._endpoint: tuple[str, float] | None = None

    def __str__(self) -> str:
        return f"The remote agent at {self._url}"

    async def send(self, text: str, message_id: UUID, *, context: str = "", task: str = "") -> Standing:
        """Say something.

        Args:
            text: what is said.
            message_id: the same for the same message, however often it is sent.
            context: of earlier tasks; "" for a new one.
            task: that waits for this; a remote that knows it no more gets the text as a new task.

        Raises:
            TransientError: there is no answer now.
            RemoteRefused, TerminalError: there never will be.
        """
        message: dict[str, Any] = {"messageId": str(message_id), "role": "ROLE_USER", "parts": [{"text": text}]}
        if context:
            message["contextId"] = context
        configuration = {
            "returnImmediately": True,
            "acceptedOutputModes": ["text/plain", "application/json"],
            "historyLength": HISTORY,
        }
        params = {"message": message | ({"taskId": task} if task else {}), "configuration": configuration}
        try:
            result = await self._call("SendMessage", params)
        except RemoteRefused as error:
            if not task or error.code not in (NO_TASK, UNSUPPORTED):
                raise
            message["messageId"] = str(uuid5(message_id, "new task"))
            result = await self._call("SendMessage", params | {"message": message})
        return self._read(result, result.get("task"))

    async def settle(self, task: str, patience: float) -> Standing:
        """Wait until a task is over or wants input.

        Args:
            task: its id.
            patience: seconds to wait.

        Raises:
            TransientError: it is neither; ask again later.
            RemoteRefused, TerminalError: the remote does not know the task.
        """
        end, pause = monotonic() + patience, FIRST_PAUSE
        while True:
            await asyncio.sleep(min(pause, max(0.0, end - monotonic())))
            result = await self._call("GetTask", {"id": task, "historyLength": HISTORY})
            standing = self._read(result, result)
            if standing.is_settled:
                return standing
            if monotonic() >= end:
                why = " It needs an authorisation there." if standing.state == AUTH_REQUIRED else ""
                raise TransientError(f"{self} has not finished the task {task} ({standing.state}).{why}")
            pause = min(LONGEST_PAUSE, pause * 1.5)

    # --- reading ---

    def _read(self, result: dict[str, Any], task: Any) -> Standing:
        try:
            if task is None:
                message = result["message"]
                text, data = _words([message])
                return Standing(COMPLETED, text, data, context=str(message.get("contextId") or ""))
            status = task["status"]
            said = [status["message"]] if status.get("message") else []
            own = [one for one in task.get("history") or () if one.get("role") == "ROLE_AGENT"][-1:]
            sources = (said, own) if status["state"] == INPUT_REQUIRED else (task.get("artifacts") or [], said, own)
            text, data = next((words for words in map(_words, sources) if words != ("", None)), ("", None))
            return Standing(str(status["state"]), text, data, str(task["id"]), str(task.get("contextId") or ""))
        except (AttributeError, KeyError, TypeError):
            raise TerminalError(f"{self} answered with something that is neither a task nor a message.") from None

    # --- asking ---

    async def _call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        endpoint = await self._find_endpoint()
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self._ask("POST", endpoint, body)
        error, result = answer.get("error"), answer.get("result")
        if isinstance(error, dict):
            code = error.get("code")
            said = f"{self} answered {method} with {code}: {str(error.get('message'))[:500]}"
            if code == INTERNAL:
                raise TransientError(clean(said, self._key()))
            raise RemoteRefused(clean(said, self._key()), code=code if isinstance(code, int) else 0)
        if not isinstance(result, dict):
            raise TransientError(f"{self} answered {method} with something that is no JSON-RPC.")
        return result

    async def _find_endpoint(self) -> str:
        now = monotonic()
        if self._endpoint is None or self._endpoint[1] < now:
            self._endpoint = self._endpoint_of(await self._ask("GET", self._url + WELL_KNOWN)), now + CARD_LIFE
        return self._endpoint[0]

    def _endpoint_of(self, card: dict[str, Any]) -> str:
        """Where the card says that it speaks our protocol: a card must not lead us, or our token, elsewhere."""
        interfaces = card.get("supportedInterfaces")
        for interface in interfaces if isinstance(interfaces, list) else ():
            if not isinstance(interface, dict) or interface.get("protocolBinding") != "JSONRPC":
                continue
            version, url = str(interface.get("protocolVersion")), str(interface.get("url"))
            if version.split(".")[:2] == VERSION.split("."):
                try:
                    same = _origin(httpx2.URL(url)) == self._origin
                except httpx2.InvalidURL:
                    same = False
                if not same:
                    raise TerminalError(f"{self} wants to be called at another origin, {url[:200]}. Give that URL.")
                return url
        raise TerminalError(f"{self} offers no JSON-RPC of A2A {VERSION} in its card.")

    def _key(self) -> str:
        if self._key_variable is None:
            return ""
        return check_key(os.environ.get(self._key_variable, ""), self._key_variable, str(self))

    async def _ask(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        key = self._key()
        headers = {"a2a-version": VERSION, "accept": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        client = self._clients.get()
        request = client.build_request(method, url, json=body, headers=headers)
        try:
            response = await client.send(request, stream=True)
            try:
                text = await read_body(response, MAX_ANSWER_BYTES, TerminalError)
            finally:
                await response.aclose()
        except httpx2.TimeoutException:
            raise TransientError(f"{self} said nothing for {self._silence:g} s.") from None
        except httpx2.HTTPError as error:
            raise TransientError(f"{self} cannot be reached: {clean(str(error), key)}") from None
        self._check_status(response, text, key)
        try:
            answer = msgspec.json.decode(text)
        except msgspec.DecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise TransientError(f"{self} answered with something that is no JSON object.")
        return answer

    def _check_status(self, response: httpx2.Response, text: bytes, key: str) -> None:
        status = response.status_code
        if status == 200:
            return
        said = f"{self} answered {status}: {clean(text.decode(errors='replace'), key)[:500]}"
        if status >= 500 or status in (408, 409, 425, 429):
            raise TransientError(said, retry_after=retry_after(response))
        raise TerminalError(said)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


def _words(sources: list[dict[str, Any]]) -> tuple[str, Any]:
    """The texts of some messages or artifacts, and the first of their data."""
    parts = [part for source in sources for part in source.get("parts") or ()]
    texts = [part["text"] for part in parts if isinstance(part.get("text"), str) and part["text"]]
    data = next((part["data"] for part in parts if "data" in part), None)
    if data is not None and len(msgspec.json.encode(data)) > MAX_KEPT_BYTES:
        data = None
    return cut_text("\n\n".join(texts), MAX_KEPT_BYTES), data
