"""A client for external agents of Nexus: their handlers run here, wherever that is.

    from nexus_agent import Agent

    def handle(message, context):
        context.state["seen"] = context.state.get("seen", 0) + 1
        context.reply({"echo": message["data"]})

    with Agent("https://nexus.example/api", "nxs_…", "translator") as agent:
        agent.register(description="Translates.")
        agent.run(handle)

A message is leased for ``visibility`` seconds, and renewed in the background while its handler runs. What the handler
sends, its state and its results are stored by one request, all or nothing. One file, needs httpx and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

__all__ = ["Agent", "ApiError", "AsyncAgent", "Context", "LeaseLost", "Terminal", "Transient"]
__version__ = "0.1.0"

logger = logging.getLogger("nexus_agent")

VISIBILITY = 30.0
WAIT = 20.0
TRIES = 8
MAX_LEASED = 50
FIRST_PAUSE, MAX_PAUSE = 0.2, 10.0
RETRIED = (408, 425, 429, 500, 502, 503, 504)


class ApiError(Exception):
    """The API refused a request.

    Args:
        status: the HTTP status.
        code: the kind of problem, such as ``"insufficient-scope"``.
        detail: for people.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail = status, code, detail


class LeaseLost(Exception):
    """Another program may have the message by now. What this one did for it is not stored."""


class Transient(Exception):
    """Raise it in a handler: try again later, after ``retry_after`` seconds at least."""

    def __init__(self, text: str, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Terminal(Exception):
    """Raise it in a handler: never try this message again."""


@dataclass
class Context:
    """What a handler gets beside its message. What it collects is stored when the handler returns.

    Args:
        attempt: 1 for the first.
        state: what the agent remembers of this workflow, a JSON object; change it in place.
        deadline: when the handler has to be done, as ISO 8601; or None.
        labels: of the message, or None.
    """

    attempt: int
    state: dict[str, Any]
    deadline: str | None
    labels: str | None
    _renew: Callable[[dict[str, Any]], Any] = field(repr=False)
    _once: dict[str, Any] = field(default_factory=dict, repr=False)
    _replies: list[dict[str, Any]] = field(default_factory=list, repr=False)
    _sends: list[dict[str, Any]] = field(default_factory=list, repr=False)

    def reply(self, data: Any = None, *, type: str | None = None) -> None:
        """Answer the sender of the message."""
        self._replies.append({"data": data} if type is None else {"data": data, "type": type})

    def send(self, recipient: str, type: str, data: Any = None, **options: Any) -> None:
        """Send a message in the same workflow.

        Args:
            recipient: an agent or a group.
            type: message type.
            data: any JSON value.
            options: ``correlation_id``, ``deduplication_id``, ``expires_in``, ``delay``, ``labels``.
        """
        self._sends.append({"recipient": recipient, "type": type, "data": data, **options})

    def once(self, key: str, call: Callable[[], Any]) -> Any:
        """Make a call whose result the next attempt gets without the call, should this one die. In an ``AsyncAgent``
        await it, and ``call`` may be async.

        Raises:
            LeaseLost: the result could not be kept.
        """
        if inspect.iscoroutinefunction(self._renew):
            return self._once_async(key, call)
        if key not in self._once:
            self._once[key] = call()
            self._renew({key: self._once[key]})
        return self._once[key]

    async def _once_async(self, key: str, call: Callable[[], Any]) -> Any:
        if key not in self._once:
            result = call()
            self._once[key] = await result if inspect.isawaitable(result) else result
            await self._renew({key: self._once[key]})
        return self._once[key]


Handler = Callable[[dict[str, Any], Context], Any]


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    for _ in range(TRIES - 1):
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret
        pause = min(MAX_PAUSE, pause * 2)


def _answer(response: httpx.Response) -> dict[str, Any]:
    if response.is_success:
        body: dict[str, Any] = response.json() if response.content else {}
        return body
    try:
        problem = response.json()
        code, detail = str(problem["type"]).rpartition(":")[2], str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = "unreadable", response.text[:200]
    if code == "lease-lost":
        raise LeaseLost(detail)
    raise ApiError(response.status_code, code, detail)


def _asked_pause(response: httpx.Response, pause: float) -> float:
    asked = response.headers.get("Retry-After", "")
    return max(pause, min(60.0, float(asked))) if asked.isdigit() else pause


def _again(response: httpx.Response) -> bool:
    return response.status_code in RETRIED or (response.status_code == 409 and "in-flight" in response.text)


class _Base:
    def __init__(self, agent: str, visibility: float) -> None:
        self.agent, self.visibility = agent, visibility

    @property
    def _path(self) -> str:
        return f"external-agents/{self.agent}"

    def _of(self, leased: dict[str, Any], verb: str) -> str:
        return f"{self._path}/deliveries/{leased['delivery']}/{verb}"

    def _lease_body(self, limit: int, wait: float) -> dict[str, Any]:
        return {"limit": limit, "wait": wait, "visibility": self.visibility}

    def _renewal(self, leased: dict[str, Any], once: dict[str, Any]) -> dict[str, Any]:
        return {"token": leased["token"], "visibility": self.visibility, "once": once}

    @staticmethod
    def _context(leased: dict[str, Any], renew: Callable[[dict[str, Any]], Any]) -> Context:
        return Context(
            leased["attempt"], leased["state"], leased["deadline"], leased["labels"], renew, dict(leased["once"])
        )

    @staticmethod
    def _completion(leased: dict[str, Any], context: Context) -> dict[str, Any]:
        return {
            "token": leased["token"],
            "replies": context._replies,
            "sends": context._sends,
            "state": context.state,
        }

    @staticmethod
    def _failure(leased: dict[str, Any], error: BaseException) -> dict[str, Any]:
        """What is told of a handler's error, or of a result that was refused: by the rules of handlers inside."""
        refused = isinstance(error, ApiError) and error.status in (403, 409, 413, 422)
        body: dict[str, Any] = {
            "token": leased["token"],
            "error": f"{type(error).__name__}: {error}"[:10_000],
            "terminal": isinstance(error, Terminal) or refused,
        }
        if isinstance(error, Transient) and error.retry_after is not None:
            body["retry_after"] = error.retry_after
        return body


def _client_options(url: str, token: str) -> dict[str, Any]:
    return {
        "base_url": url.rstrip("/") + "/",
        "headers": {"Authorization": f"Bearer {token}", "User-Agent": f"nexus-agent/{__version__}"},
        "timeout": httpx.Timeout(10.0, read=WAIT + 20.0),
    }


class Agent(_Base):
    """An agent whose handlers are functions that run in threads.

    Args:
        url: of the API, such as ``https://nexus.example/api``.
        token: with the scope ``agents:act``, and the agent among its senders.
        agent: the name.
        visibility: seconds after which another program may have a message, should this one die or freeze.
        client: an ``httpx.Client`` to use instead, with base URL and headers set.
    """

    def __init__(
        self, url: str, token: str, agent: str, *, visibility: float = VISIBILITY, client: httpx.Client | None = None
    ) -> None:
        super().__init__(agent, visibility)
        self._client = client or httpx.Client(**_client_options(url, token))
        self._stopping = threading.Event()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def stop(self) -> None:
        """Lease nothing more; ``run`` returns when the handlers at hand are done. Any thread may call it."""
        self._stopping.set()

    def register(self, **options: Any) -> dict[str, Any]:
        """Make the agent known, or change what it says of itself: ``description``, ``accepts``, ``max_attempts``,
        ``concurrency``, ``rate``, ``timeout``; ``origin``, ``private``, ``reads_untrusted``, ``sees_private``,
        ``changes_outside``, ``accepts_labels``, which are not taken back without an operator.
        """
        return self._post(self._path, options)

    def lease(self, limit: int = 1, *, wait: float = 0.0) -> list[dict[str, Any]]:
        """Lease up to ``limit`` messages; wait up to ``wait`` seconds for a first one. Sent once: a lease whose answer
        was lost expires by itself.

        Raises:
            ApiError, httpx.HTTPError: nothing is known to be leased.
        """
        response = self._client.post(f"{self._path}/lease", json=self._lease_body(limit, wait))
        leased: list[dict[str, Any]] = _answer(response)["messages"]
        return leased

    def renew(self, leased: dict[str, Any], once: dict[str, Any] | None = None) -> dict[str, Any]:
        """Prolong a lease, and keep results for the next attempt."""
        return self._post(self._of(leased, "renew"), self._renewal(leased, once or {}))

    def complete(self, leased: dict[str, Any], context: Context) -> str:
        """Store what a handler left; repeated until there is an answer, which is the same for a repeat.

        Returns:
            ``"processed"``, or what became of the message instead.
        """
        return str(self._post(self._of(leased, "complete"), self._completion(leased, context))["outcome"])

    def fail(self, leased: dict[str, Any], error: BaseException) -> None:
        """Say why a message was not handled."""
        self._post(self._of(leased, "fail"), self._failure(leased, error))

    def run(self, handle: Handler, *, concurrency: int = 1, wait: float = WAIT, signals: bool = True) -> None:
        """Handle messages until ``stop``.

        Args:
            handle: called with (message, context).
            concurrency: handlers at once.
            wait: seconds that a request for messages waits at most.
            signals: let SIGTERM and SIGINT call ``stop``; in the main thread only.
        """
        if signals and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop())
        free = threading.Semaphore(concurrency)
        pause = FIRST_PAUSE
        with ThreadPoolExecutor(concurrency, thread_name_prefix="nexus-agent") as handlers:
            while not self._stopping.is_set():
                if not free.acquire(timeout=0.5):
                    continue
                room = 1
                try:
                    room += sum(free.acquire(blocking=False) for _ in range(min(concurrency, MAX_LEASED) - 1))
                    leased = self.lease(room, wait=wait)
                    pause = FIRST_PAUSE
                except (ApiError, httpx.HTTPError) as error:
                    free.release(room)
                    self._rest_after(error, pause)
                    pause = min(MAX_PAUSE, pause * 2)
                    continue
                if len(leased) < room:
                    free.release(room - len(leased))
                for one in leased:
                    handlers.submit(self._handle_and_free, handle, one, free)

    def _rest_after(self, error: Exception, pause: float) -> None:
        if isinstance(error, ApiError) and error.status not in RETRIED:
            raise error
        logger.warning("No messages can be leased, trying again: %s", error)
        self._stopping.wait(pause)

    def _handle_and_free(self, handle: Handler, leased: dict[str, Any], free: threading.Semaphore) -> None:
        try:
            self.handle_one(handle, leased)
        except Exception:  # the lease expires, and the message comes again
            logger.exception("Delivery %s could not be settled; it comes again.", leased["delivery"])
        finally:
            free.release()

    def handle_one(self, handle: Handler, leased: dict[str, Any]) -> None:
        """Call the handler with a leased message, renewing it meanwhile, and store what it left or why it failed."""
        context = self._context(leased, lambda once: self.renew(leased, once))
        done = threading.Event()
        beating = threading.Thread(target=self._beat, args=(leased, done), daemon=True)
        beating.start()
        try:
            try:
                handle(leased["message"], context)
            except LeaseLost:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the installation decides what follows
                logger.warning("The handler failed: %r", error)
                self.fail(leased, error)
                return
            try:
                self.complete(leased, context)
            except ApiError as error:
                if error.status in RETRIED or error.status == 401:
                    raise
                logger.error("What the handler left is refused: %s", error)
                self.fail(leased, error)
        except LeaseLost as error:
            logger.warning("Delivery %s: %s", leased["delivery"], error)
        finally:
            done.set()
            beating.join(1.0)

    def _beat(self, leased: dict[str, Any], done: threading.Event) -> None:
        while not done.wait(self.visibility / 3):
            try:
                self.renew(leased)
            except LeaseLost:
                return
            except Exception as error:  # noqa: BLE001 - the next beat may do better
                logger.warning("A lease could not be renewed: %s", error)

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        problem: Exception | None = None
        for pause in [*_pauses(), 0.0]:
            try:
                response = self._client.post(path, json=body)
            except httpx.TransportError as error:
                problem = error
                time.sleep(pause)
                continue
            if not _again(response) or not pause:
                return _answer(response)
            time.sleep(_asked_pause(response, pause))
        raise problem or AssertionError("no answer")


AsyncHandler = Callable[[dict[str, Any], Context], Awaitable[Any]]


class AsyncAgent(_Base):
    """The same for async handlers. The arguments and methods are those of ``Agent``; await them."""

    def __init__(
        self,
        url: str,
        token: str,
        agent: str,
        *,
        visibility: float = VISIBILITY,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(agent, visibility)
        self._client = client or httpx.AsyncClient(**_client_options(url, token))
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> AsyncAgent:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()

    def stop(self) -> None:
        """Lease nothing more; ``run`` returns when the handlers at hand are done. Call it in the event loop."""
        self._stopping.set()

    async def register(self, **options: Any) -> dict[str, Any]:
        return await self._post(self._path, options)

    async def lease(self, limit: int = 1, *, wait: float = 0.0) -> list[dict[str, Any]]:
        response = await self._client.post(f"{self._path}/lease", json=self._lease_body(limit, wait))
        leased: list[dict[str, Any]] = _answer(response)["messages"]
        return leased

    async def renew(self, leased: dict[str, Any], once: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self._post(self._of(leased, "renew"), self._renewal(leased, once or {}))

    async def complete(self, leased: dict[str, Any], context: Context) -> str:
        return str((await self._post(self._of(leased, "complete"), self._completion(leased, context)))["outcome"])

    async def fail(self, leased: dict[str, Any], error: BaseException) -> None:
        await self._post(self._of(leased, "fail"), self._failure(leased, error))

    async def run(
        self, handle: AsyncHandler, *, concurrency: int = 1, wait: float = WAIT, signals: bool = True
    ) -> None:
        if signals:
            with contextlib.suppress(NotImplementedError, RuntimeError):  # not the main thread, or Windows
                for number in (signal.SIGTERM, signal.SIGINT):
                    asyncio.get_running_loop().add_signal_handler(number, self.stop)
        free, pause = asyncio.Semaphore(concurrency), FIRST_PAUSE
        running: set[asyncio.Task[None]] = set()
        while not self._stopping.is_set():
            await free.acquire()
            room = 1
            while room < MAX_LEASED and not free.locked():
                await free.acquire()
                room += 1
            try:
                leased = await self.lease(room, wait=wait) if not self._stopping.is_set() else []
                pause = FIRST_PAUSE
            except (ApiError, httpx.HTTPError) as error:
                for _ in range(room):
                    free.release()
                if isinstance(error, ApiError) and error.status not in RETRIED:
                    raise
                logger.warning("No messages can be leased, trying again: %s", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause)
                pause = min(MAX_PAUSE, pause * 2)
                continue
            for _ in range(room - len(leased)):
                free.release()
            for one in leased:
                task = asyncio.create_task(self._handle_and_free(handle, one, free))
                running.add(task)
                task.add_done_callback(running.discard)
        if running:
            await asyncio.wait(running)

    async def _handle_and_free(self, handle: AsyncHandler, leased: dict[str, Any], free: asyncio.Semaphore) -> None:
        try:
            await self.handle_one(handle, leased)
        except Exception:
            logger.exception("Delivery %s could not be settled; it comes again.", leased["delivery"])
        finally:
            free.release()

    async def handle_one(self, handle: AsyncHandler, leased: dict[str, Any]) -> None:
        async def renew(once: dict[str, Any]) -> None:
            await self.renew(leased, once)

        context = self._context(leased, renew)
        beating = asyncio.create_task(self._beat(leased))
        try:
            try:
                await handle(leased["message"], context)
            except LeaseLost:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the installation decides what follows
                logger.warning("The handler failed: %r", error)
                await self.fail(leased, error)
                return
            try:
                await self.complete(leased, context)
            except ApiError as error:
                if error.status in RETRIED or error.status == 401:
                    raise
                logger.error("What the handler left is refused: %s", error)
                await self.fail(leased, error)
        except LeaseLost as error:
            logger.warning("Delivery %s: %s", leased["delivery"], error)
        finally:
            beating.cancel()
            await asyncio.wait([beating])

    async def _beat(self, leased: dict[str, Any]) -> None:
        while True:
            await asyncio.sleep(self.visibility / 3)
            try:
                await self.renew(leased)
            except LeaseLost:
                return
            except Exception as error:  # noqa: BLE001 - the next beat may do better
                logger.warning("A lease could not be renewed: %s", error)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        problem: Exception | None = None
        for pause in [*_pauses(), 0.0]:
            try:
                response = await self._client.post(path, json=body)
            except httpx.TransportError as error:
                problem = error
                await asyncio.sleep(pause)
                continue
            if not _again(response) or not pause:
                return _answer(response)
            await asyncio.sleep(_asked_pause(response, pause))
        raise problem or AssertionError("no answer")
