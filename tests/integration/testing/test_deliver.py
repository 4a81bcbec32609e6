"""``deliver``: one handler and what it sends, without a database."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from messaging.api import (
    AgentSpec,
    ConfigurationError,
    Envelope,
    EnvelopeError,
    HandlerContext,
    HandlerKind,
    TerminalError,
)
from messaging.testing import deliver, stand_in


def critic(message: Envelope, context: HandlerContext) -> str:
    context.state["seen"] = context.state.get("seen", 0) + 1
    context.reply({"short": len(message.data["text"]) < 5})
    context.send("archive", "draft.kept", message.data, expires_in=60)
    return "read by nobody"


def test_a_handler_is_called_and_what_it_sends_recorded() -> None:
    with stand_in("critic", critic, accepts=("draft.ready",)):
        done = deliver("critic", "draft.ready", {"text": "abc"}, sender="writer", state={"seen": 4})
        done.assert_sent(type="draft.ready.reply", recipient="writer", data={"short": True}, times=1)
        kept = done.assert_sent(recipient="archive")
        assert kept.causationid == done.message.message_id
        assert kept.expirytime is not None
        assert [message.sequence_number for message in done.sent] == [2, 3]
        assert (done.state, done.result) == ({"seen": 5}, "read by nobody")
        done.assert_nothing_sent(type="draft.lost")
        with pytest.raises(AssertionError, match="Expected no message"):
            done.assert_nothing_sent()
        with pytest.raises(TerminalError, match="does not accept"):
            deliver("critic", "draft.lost")
        assert deliver("critic", done.message).message is done.message
        with pytest.raises(ConfigurationError, match="Leave data out"):
            deliver("critic", done.message, {"text": "other"})


def test_an_unknown_agent_is_named() -> None:
    with stand_in("critic"), pytest.raises(ConfigurationError, match="Did you mean 'critic'"):
        deliver("critik", "draft.ready")


def test_an_async_handler_with_results_of_once() -> None:
    async def work(message: Envelope, context: HandlerContext) -> Any:
        await asyncio.sleep(0)

        async def call() -> int:
            return 7

        context.reply(await context.once("call", call))

    spec = AgentSpec(name="worker", handler=work, kind=HandlerKind.LEASED)
    assert deliver(spec, "test.work").assert_sent(recipient="test").data == 7


def test_what_a_worker_would_refuse_is_refused() -> None:
    def sends_a_set(message: Envelope, context: HandlerContext) -> None:
        context.send("other", "test.message", {1, 2})

    def raises(message: Envelope, context: HandlerContext) -> None:
        raise LookupError(context.attempt)

    def once(message: Envelope, context: HandlerContext) -> None:
        context.once("key", lambda: 1)

    with pytest.raises(EnvelopeError, match="set"):
        deliver(AgentSpec(name="worker", handler=sends_a_set), "test.work")
    with pytest.raises(LookupError, match="3"):
        deliver(AgentSpec(name="worker", handler=raises), "test.work", attempt=3)
    with pytest.raises(TerminalError, match="is transactional"):
        deliver(AgentSpec(name="worker", handler=once), "test.work")
