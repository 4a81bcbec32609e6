"""The agents of ``tests.support.chaos``, named by NEXUS_AGENTS, and the program that sends to each of them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.db.transaction import TransactionManagementError
from django.utils.safestring import SafeString

from messaging.api import (
    AgentSpec,
    EnvelopeError,
    HandlerKind,
    ReliableCommunicationBus,
    RetryPolicy,
    TerminalError,
    TransientError,
    registry,
)
from messaging.core.errors import BrokerUnavailable, LeaseLost
from messaging.receiving.database import DatabaseUnavailable
from tests.support import chaos
from tests.support.chaos import INNOCENTS
from tests.support.race_agents import count

THREE = RetryPolicy(max_attempts=3, base=0.05, cap=0.1)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class UnprintableError(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __repr__


class Uncomparable:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]


class Rude(BaseException):
    pass


class SafeText(SafeString):
    pass


def looped() -> list[Any]:
    """A list that holds itself."""
    made: list[Any] = []
    made.append(made)
    return made


def deep(levels: int) -> list[Any]:
    """Lists in lists."""
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


NAMES: dict[str, Any] = {
    "asyncio": asyncio, "concurrent": concurrent, "threading": threading, "datetime": datetime, "timedelta": timedelta,
    "Decimal": Decimal, "uuid4": uuid4, "DataError": DataError, "IntegrityError": IntegrityError,
    "InterfaceError": InterfaceError, "OperationalError": OperationalError, "EnvelopeError": EnvelopeError,
    "TransactionManagementError": TransactionManagementError, "TerminalError": TerminalError, "Rude": Rude,
    "TransientError": TransientError, "BrokerUnavailable": BrokerUnavailable, "LeaseLost": LeaseLost,
    "DatabaseUnavailable": DatabaseUnavailable, "Unprintable": Unprintable, "UnprintableError": UnprintableError,
    "Uncomparable": Uncomparable, "SafeText": SafeText, "looped": looped, "deep": deep,
}  # fmt: skip


def register() -> None:
    """Make them known to this process."""
    for one in chaos.read():
        kind = HandlerKind.LEASED if one.leased else HandlerKind.TRANSACTIONAL
        handler = chaos.handler_of(one, lambda text: eval(text, dict(NAMES)))
        registry.register(AgentSpec(name=one.name, handler=handler, kind=kind, retry=THREE))
    registry.register(AgentSpec(name="innocent", handler=count))


def send() -> None:
    """Send one message to each, each in a workflow of its own, innocents among them."""
    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    names = [one.name for one in chaos.read()]
    innocent = max(1, len(names) // INNOCENTS)
    sent = 0
    for number, name in enumerate(names):
        bus.send(bus.start_workflow(name), name, "test.message", {"n": number}, sender="web")
        if number % innocent == 0 and sent < INNOCENTS:
            bus.send(bus.start_workflow("innocent"), "innocent", "test.message", {"n": number}, sender="web")
            sent += 1
    for number in range(sent, INNOCENTS):
        bus.send(bus.start_workflow("innocent"), "innocent", "test.message", {"n": number}, sender="web")
    bus.close()


register()
