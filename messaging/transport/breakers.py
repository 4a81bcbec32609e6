"""The circuit breakers of this installation: one for each name, shared between processes where there is a Redis.

Without ``REDIS_URL``, or while Redis does not answer, every process remembers by itself: a breaker needs no agreement
to be safe, only to spare each process its own failures.
"""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings

from messaging.core.breaker import CircuitBreaker, LocalMemory
from messaging.core.errors import ConfigurationError

_breakers: dict[str, CircuitBreaker] = {}
_creating = threading.Lock()
_client: Any = None  # of Redis


def _redis_memory() -> Any:
    """The module that needs the package ``redis``, which only those with a Redis have to install."""
    try:
        return import_module("messaging.transport.redis_memory")
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ConfigurationError(
            "REDIS_URL is set, but the package redis is missing. Install nexus-reliable-messaging[redis]."
        ) from None


def _redis() -> Any:
    global _client
    url = getattr(django_settings, "REDIS_URL", "")
    if url and _client is None:
        _client = _redis_memory().connect(url)
    return _client if url else None


def get_breaker(name: str, *, failures: int = 5, reset_after: float = 30.0) -> CircuitBreaker:
    """The breaker of that name; the first call in a process says how it behaves.

    Args:
        name: of what is called, such as ``"broker"``; processes with the same Redis share it by this name.
        failures, reset_after: see ``CircuitBreaker``.
    """
    with _creating:
        breaker = _breakers.get(name)
        if breaker is None:
            client = _redis()
            memory = _redis_memory().SharedMemory(client, name) if client is not None else LocalMemory()
            breaker = _breakers[name] = CircuitBreaker(name, failures=failures, reset_after=reset_after, memory=memory)
        return breaker


def forget() -> None:
    """Make every breaker anew at its next use."""
    global _client
    with _creating:
        _breakers.clear()
        _client = None


def refusing() -> dict[str, bool]:
    """Name → whether it refuses calls now, of every breaker that this process uses, or any process with its Redis."""
    found = {name: breaker.refuses for name, breaker in list(_breakers.items())}
    client = _redis()
    if client is not None:
        for name, record, now in _redis_memory().shared_records(client):
            found[name] = record.next_probe is not None and record.next_probe > now
    return found
