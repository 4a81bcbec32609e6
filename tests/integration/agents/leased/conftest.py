"""The system in one thread, with agents that have limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from messaging.api import AgentSpec, Envelope, HandlerContext, HandlerKind, registry
from messaging.directory import pausing
from messaging.directory.names import save_registered_agents
from tests.support.lab import Lab

WAIT = 20.0
Register = Callable[..., None]


@pytest.fixture
def lab(transactional_db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A bus, a broker in memory, a consumer and a relay, on the run's database."""
    monkeypatch.setattr(pausing, "REMEMBER", 0.0)
    pausing.forget()
    laboratory = Lab(settings, monkeypatch, leased_concurrency=8)
    yield laboratory
    laboratory.close()
    pausing.forget()


@pytest.fixture
def register(lab: Lab) -> Iterator[Register]:
    """Registers an agent with whatever settings; leased unless it says otherwise."""
    names: list[str] = []

    def add(name: str, handler: Callable[[Envelope, HandlerContext], Any], **settings: Any) -> None:
        registry.register(AgentSpec(name=name, handler=handler, **{"kind": HandlerKind.LEASED, **settings}))
        save_registered_agents()
        names.append(name)

    yield add
    for name in names:
        registry.remove(name)


class Gate:
    """A leased handler that waits until it is let through, and notes who runs."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.order: list[Any] = []
        self._lock = threading.Lock()
        self._open = threading.Semaphore(0)

    def __call__(self, message: Envelope, context: HandlerContext) -> None:
        with self._lock:
            self.order.append(message.data)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            assert self._open.acquire(timeout=WAIT)
        finally:
            with self._lock:
                self.running -= 1

    def let_through(self, count: int = 1) -> None:
        """Let some of those who wait go on."""
        self._open.release(count)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """See ``Gate``; it opens at the end."""
    made = Gate()
    yield made
    made.let_through(1_000)
