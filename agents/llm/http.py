"""Calling servers outside: which URLs may be called, their connections, and answers of bounded length."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

from messaging.api import ConfigurationError

MAX_RETRY_AFTER = 86_400.0  # seconds


def check_url(url: str, what: str) -> httpx2.URL:
    """Refuse a URL that is none, or that holds what must stand in the environment.

    Args:
        url: to be called.
        what: for the error, such as ``"base_url of model 'tiny'"``.

    Raises:
        ConfigurationError: says what is wrong.
    """
    read = httpx2.URL(url)
    if read.scheme not in ("http", "https") or not read.host:
        raise ConfigurationError(f"{what} must be an http(s) URL, such as https://host/v1.")
    if read.userinfo or read.query:
        raise ConfigurationError(
            f"{what} holds a user, password or query. "
            "Put the key into the environment and name its variable with key_variable."
        )
    return read


class HttpClients:
    """A client for each event loop, because a client belongs to the loop that made its connections.

    Redirects are not followed: they could lead anywhere.

    Args:
        silence: seconds that a server may say nothing.
    """

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = (
            weakref.WeakKeyDictionary()
        )

    def get(self) -> httpx2.AsyncClient:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            timeout = httpx2.Timeout(self._silence, connect=min(10.0, self._silence))
            limits = httpx2.Limits(max_connections=256, max_keepalive_connections=32)
            client = self._clients[loop] = httpx2.AsyncClient(timeout=timeout, limits=limits, follow_redirects=False)
        return client


async def read_body(response: httpx2.Response, limit: int, too_long: Callable[[str], Exception]) -> bytes:
    """The body of a response.

    Args:
        response: that is being received.
        limit: most bytes.
        too_long: makes the error that is raised when there are more.
    """
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise too_long(f"The answer is longer than {limit} bytes.")
    return bytes(body)


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if math.isfinite(seconds) else None


def clean(text: str, key: str) -> str:
    """Take a key out of what a server said."""
    return text.replace(key, "***") if key else text


def check_key(key: str, variable: str, whose: str) -> str:
    """Refuse a key that no header can carry.

    Args:
        key: what the environment holds.
        variable: its name.
        whose: for the error, such as ``"model 'tiny'"``.

    Raises:
        ConfigurationError: it is empty, or holds characters that no key has.
    """
    key = key.strip()
    if not key:
        raise ConfigurationError(f"The environment variable {variable} is empty; {whose} needs its key there.")
    if not key.isascii() or not key.isprintable():
        raise ConfigurationError(f"The environment variable {variable} holds characters that no key has.")
    return key
