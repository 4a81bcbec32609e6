"""``context.once`` by itself: keys, values, sync and async."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from messaging.api import HandlerContext, TerminalError
from messaging.core.once import MemoryResults
from tests.unit.agents.envelopes import make_envelope


def context(results: MemoryResults | None, delivery: Any = None) -> HandlerContext:
    return HandlerContext(message=make_envelope(), agent="agent", delivery_id=delivery or uuid4(), results=results)


def test_a_second_attempt_gets_the_first_result() -> None:
    results, delivery = MemoryResults(), uuid4()
    calls: list[int] = []

    def call() -> Any:
        calls.append(1)
        return {"pair": (1, 2)}

    for _ in range(3):
        assert context(results, delivery).once("key", call) == {"pair": [1, 2]}, "as JSON has it, the first time too"
    assert len(calls) == 1
    assert context(results).once("key", lambda: "another delivery") == "another delivery"


@pytest.mark.parametrize("value", [None, 0, "", [], {}])
def test_results_that_look_like_nothing_are_kept_too(value: Any) -> None:
    results, delivery = MemoryResults(), uuid4()
    assert context(results, delivery).once("key", lambda: value) == value
    assert context(results, delivery).once("key", lambda: "again") == value


def test_a_call_that_raised_is_called_again() -> None:
    results, delivery = MemoryResults(), uuid4()

    def fail() -> None:
        raise OSError("down")

    with pytest.raises(OSError, match="down"):
        context(results, delivery).once("key", fail)
    assert context(results, delivery).once("key", lambda: "up") == "up"


def test_a_key_is_used_once_in_a_handler() -> None:
    """A loop with one key for all its calls would otherwise get the first result for every one of them."""
    current = context(MemoryResults())
    current.once("key", lambda: 1)
    with pytest.raises(TerminalError, match="key of its own"):
        current.once("key", lambda: 2)


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_keys_have_a_length(key: str) -> None:
    with pytest.raises(TerminalError, match="1 to 200 characters"):
        context(MemoryResults()).once(key, lambda: 1)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TerminalError, match="no JSON value"):
        context(MemoryResults()).once("key", lambda: object())


def test_async_functions_are_awaited_and_kept() -> None:
    results, delivery = MemoryResults(), uuid4()
    calls: list[int] = []

    async def call() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        return len(calls)

    async def handler() -> int:
        return await context(results, delivery).once("key", call)

    assert [asyncio.run(handler()) for _ in range(3)] == [1, 1, 1]


def test_an_async_function_in_a_sync_handler_is_refused() -> None:
    async def call() -> int:
        return 1

    with pytest.raises(TerminalError, match="needs an async handler"):
        context(MemoryResults()).once("key", call)


def test_a_transactional_handler_has_none() -> None:
    with pytest.raises(TerminalError, match="Make the agent leased"):
        context(None).once("key", lambda: 1)


def test_what_handlers_send() -> None:
    current = context(None)
    current.broadcast("everyone", "news", 1)
    current.broadcast(["a", "b"], "news", 2)
    current.reply("yes")
    assert [(sent.recipient, sent.type, sent.data) for sent in current.outgoing] == [
        ("everyone", "news", 1),
        ("a", "news", 2),
        ("b", "news", 2),
        ("asker", "question.reply", "yes"),
    ]
    assert current.outgoing[-1].correlation_id == current.message.message_id
